from collections.abc import Sequence
from dataclasses import dataclass, field

from reasonprune.judges.judge import Judgement, Pair
from reasonprune.judges.snapshot import Snapshot
from reasonprune.judges.truncated import TruncatedJudge


@dataclass
class Seen:
    """A judge that notes what it is shown."""

    pairs: list[Pair] = field(default_factory=list)

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        self.pairs += pairs
        return Judgement([0.25] * len(pairs), generated=7, prompted=9)


SHORT = Snapshot(0, 4, "so 4", "?", ended=True, answer="4")
RUNNING = Snapshot(1, 20, "It is so: four, but why?", "?")
ENDED = Snapshot(2, 10, "Well, so 4", "?", ended=True, answer="4")


async def test_the_judge_sees_the_first_tokens_only():
    seen = Seen()
    judged = await TruncatedJudge(seen, 5).judge([(SHORT, RUNNING), (RUNNING, ENDED)])
    assert judged == Judgement([0.25, 0.25], generated=7, prompted=9)
    running, ended = Snapshot(1, 5, "It is ", "?"), Snapshot(2, 5, "Well,", "?")
    assert seen.pairs == [(SHORT, running), (running, ended)]


async def test_or_what_comes_before_a_reasoning_word():
    seen = Seen()
    await TruncatedJudge(seen, 1, words=2).judge([(RUNNING, ENDED)])
    ((running, ended),) = seen.pairs
    assert running.text == "It is so: four, "
    assert ended is ENDED  # one such word is all there is


async def test_answers_behind_the_cut_are_hidden():
    seen = Seen()
    await TruncatedJudge(seen, 100, words=1).judge([(ENDED, SHORT)])
    assert [(s.text, s.ended, s.answer) for s in seen.pairs[0]] == [("Well, ", False, None), ("", False, None)]
