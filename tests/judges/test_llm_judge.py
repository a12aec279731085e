from dataclasses import dataclass, field, replace

import pytest

from reasonprune.judges.judge import Judgement
from reasonprune.judges.llm import MOST_CHARS, LlmJudge
from reasonprune.judges.snapshot import Snapshot


@dataclass
class Score:
    """As sure as the prompt is the how-manieth, in tenths; each prompt has 100 tokens."""

    prompts: list[str] = field(default_factory=list)

    async def __call__(self, prompt: str) -> tuple[float, int]:
        self.prompts.append(prompt)
        return len(self.prompts) / 10, 100


@pytest.fixture
def score() -> Score:
    return Score()


def running(trace: int, tokens: int = 10, text: str = "") -> Snapshot:
    return Snapshot(trace, tokens, text or f"thought of {trace}", "What is 2 + 2?")


def ended(trace: int, answer: str | None) -> Snapshot:
    return replace(running(trace, 20), ended=True, answer=answer)


async def test_each_pair_is_scored_for_one_token(score):
    pairs = [(running(0), running(1)), (running(0), running(2)), (running(1), ended(3, "4"))]
    assert await LlmJudge(score).judge(pairs) == Judgement([0.1, 0.2, 0.3], generated=3, prompted=300)


async def test_pairs_are_kept_until_a_trace_has_grown(score):
    judge = LlmJudge(score)
    await judge.judge([(running(0), running(1))])
    again = await judge.judge([(running(0), running(2)), (running(0), running(1))])
    assert again == Judgement([0.2, 0.1], generated=1, prompted=100)
    assert await judge.judge([(running(0), running(1))]) == Judgement([0.1])
    grown = [(running(0, 11), running(1)), (running(0), running(1, 11))]
    assert await judge.judge(grown) == Judgement([0.3, 0.4], generated=2, prompted=200)


@pytest.mark.parametrize(
    ("first", "second", "similarity"), [("4", "4", 1.0), ("4", "5", 0.0), ("4", None, 0.0), (None, None, 0.0)]
)
async def test_the_answers_of_ended_traces_are_known_at_no_cost(score, first, second, similarity):
    pairs = [(ended(0, first), ended(1, second)), (running(2), ended(1, second))]
    assert await LlmJudge(score).judge(pairs) == Judgement([similarity, 0.1], generated=1, prompted=100)
    assert len(score.prompts) == 1


async def test_the_prompt_shows_the_question_and_both_traces(score):
    await LlmJudge(score).judge([(running(0, text="So {x} is 4."), running(1, text="Hmm, {0}."))])
    (prompt,) = score.prompts
    places = [prompt.index(part) for part in ("What is 2 + 2?", "So {x} is 4.", "Hmm, {0}.", "Yes or No")]
    assert places == sorted(places)


async def test_of_long_traces_the_end_is_shown(score):
    await LlmJudge(score).judge([(running(0, text="[" + "x" * MOST_CHARS), running(1, text="y" * MOST_CHARS + "]"))])
    (prompt,) = score.prompts
    assert "[" not in prompt
    assert "x" * MOST_CHARS in prompt
    assert "y" * (MOST_CHARS - 1) + "]" in prompt
    assert "y" * MOST_CHARS not in prompt


async def test_no_pairs_are_no_work(score):
    assert await LlmJudge(score).judge([]) == Judgement([])
