from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.engine.replay import RecordedForce, ReplayRace
from reasonprune.errors import PoolError
from reasonprune.judges.judge import Judgement, Pair
from reasonprune.judges.probe import ProbeJudge
from reasonprune.judges.snapshot import Snapshot
from reasonprune.parallel.protocol import Finished, Grew, Judged, Probed, Signals

PLAIN = Signals()
EVERY_10 = Signals(every=10)


async def test_traces_finish_in_order_of_their_length():
    race = ReplayRace([RecordedTrace(30, "a"), RecordedTrace(10, None)], PLAIN)
    race.start(0, None)
    race.start(1, 0.5)
    assert await race.next() == Finished(1, 10, None)
    assert (race.now, race.tokens(0), race.tokens(1)) == (10, 10, 10)
    assert await race.next() == Finished(0, 30, "a")
    assert (race.now, race.tokens(0), race.tokens(1)) == (30, 30, 10)


async def test_a_later_trace_starts_from_now():
    race = ReplayRace([RecordedTrace(30, "a")] * 2, PLAIN)
    race.start(0, None)
    await race.next()
    race.start(1, None)
    assert race.tokens(1) == 0
    await race.next()
    assert race.now == 60


async def test_growth_is_told_at_every_boundary_before_the_end():
    race = ReplayRace([RecordedTrace(30, "a")], EVERY_10)
    race.start(0, None)
    assert [await race.next() for _ in range(3)] == [Grew(0, 10), Grew(0, 20), Finished(0, 30, "a")]


async def test_a_stopped_trace_keeps_its_tokens_and_says_nothing_more():
    race = ReplayRace([RecordedTrace(30, "a"), RecordedTrace(25, "b")], EVERY_10)
    race.start(0, None)
    race.start(1, None)
    assert await race.next() == Grew(0, 10)
    race.stop(0)
    assert [(await race.next()).trace for _ in range(3)] == [1, 1, 1]
    assert race.tokens(0) == 10
    await race.ended(0)
    assert race.now == 25


async def test_waiting_for_the_end_of_a_trace_moves_the_clock():
    race = ReplayRace([RecordedTrace(30, "a"), RecordedTrace(10, "b")], PLAIN)
    race.start(0, None)
    race.start(1, None)
    await race.next()
    await race.ended(1)
    assert race.now == 10
    await race.ended(0)
    assert (race.now, race.tokens(0)) == (30, 30)


async def test_confidences_come_once():
    signals = Signals(every=2, confidences=True)
    race = ReplayRace([RecordedTrace(5, "a", confidences=(1, 2, 3, 4, 5))], signals)
    race.start(0, None)
    events = [await race.next() for _ in range(3)]
    assert events == [Grew(0, 2, (1, 2)), Grew(0, 4, (3, 4)), Finished(0, 5, "a", (5,))]


async def test_probes_are_charged_and_answered_later():
    race = ReplayRace([RecordedTrace(40, "a", {10: "b", 20: None, 30: "a"})], EVERY_10, probe_cost=4)
    race.start(0, None)
    events = []
    for _ in range(7):
        events.append(event := await race.next())
        if isinstance(event, Grew):
            race.probe(0)
    assert [e for e in events if isinstance(e, Probed)] == [Probed(0, 10, "b"), Probed(0, 20, None), Probed(0, 30, "a")]
    assert race.probe_tokens == 12
    assert isinstance(events[1], Probed)
    assert race.now == 40


async def test_a_probe_that_was_not_recorded_is_unanswered():
    race = ReplayRace([RecordedTrace(40, "a", {10: "b"})], Signals(every=20))
    race.start(0, None)
    await race.next()
    race.probe(0)
    assert await race.next() == Probed(0, 20, None)


@pytest.mark.parametrize(
    ("probes", "remedy"), [({20: "a"}, "no probe at 10 tokens; set every=20"), ({}, "record the pool with probes")]
)
async def test_a_pool_without_the_probe(probes, remedy):
    race = ReplayRace([RecordedTrace(40, "a", probes)], EVERY_10)
    race.start(0, None)
    await race.next()
    with pytest.raises(PoolError, match=remedy):
        race.probe(0)


def test_a_pool_with_too_few_traces():
    with pytest.raises(PoolError, match="starts 2 traces, the pool holds 1"):
        ReplayRace([RecordedTrace(1, "a")], PLAIN).start(1, None)


def test_a_pool_without_confidences():
    with pytest.raises(PoolError, match="token confidences"):
        ReplayRace([RecordedTrace(1, "a")], Signals(confidences=True)).start(0, None)


@dataclass
class Noting:
    """A judge that notes what it is shown and costs what it is told to."""

    generated: int = 0
    prompted: int = 0
    seen: list[Pair] = field(default_factory=list)

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        self.seen += pairs
        return Judgement([i / 10 for i in range(len(pairs))], self.generated, self.prompted)


async def test_judgements_that_generate_come_after_the_ticks_of_a_probe_and_others_at_once():
    judge = Noting(generated=8, prompted=100)
    race = ReplayRace([RecordedTrace(tokens, "a") for tokens in (10, 12, 30)], PLAIN, 4, judge)
    for trace in range(3):
        race.start(trace, None)
    assert await race.next() == Finished(0, 10, "a")
    race.judge(((1, 0), (2, 0)))
    # What ends meanwhile is told first.
    assert await race.next() == Finished(1, 12, "a")
    assert await race.next() == Judged({(1, 0): 0.0, (2, 0): 0.1})
    assert (race.now, race.probe_tokens, race.judge_prompt_tokens) == (14, 8, 100)
    judge.generated = 0
    race.judge(((2, 0), (2, 1)))
    assert await race.next() == Judged({(2, 0): 0.0, (2, 1): 0.1})
    assert (race.now, race.probe_tokens, race.judge_prompt_tokens) == (14, 8, 200)
    assert await race.next() == Finished(2, 30, "a")


async def test_the_judge_is_shown_traces_as_they_were_when_it_was_asked():
    judge = Noting()
    traces = [RecordedTrace(10, "a", text="done"), RecordedTrace(30, "b", text="0123456789"), RecordedTrace(40, "c")]
    race = ReplayRace(traces, PLAIN, judge=judge, question="What?")
    for trace in range(3):
        race.start(trace, None)
    await race.next()
    race.judge(((1, 0), (2, 0)))
    race.stop(1)
    await race.next()
    ended = Snapshot(0, 10, "done", "What?", ended=True, answer="a")
    assert judge.seen == [(Snapshot(1, 10, "012", "What?"), ended), (Snapshot(2, 10, "", "What?"), ended)]


async def test_a_stopped_trace_is_shown_as_it_was_when_stopped():
    judge = Noting()
    race = ReplayRace([RecordedTrace(10, "a"), RecordedTrace(30, "b")], Signals(every=5), judge=judge)
    race.start(0, None)
    race.start(1, None)
    await race.next()
    race.stop(1)
    assert await race.next() == Finished(0, 10, "a")
    race.judge(((1, 0),))
    await race.next()
    assert [(s.tokens, s.ended) for s in judge.seen[0]] == [(5, False), (10, True)]


@pytest.mark.parametrize(
    ("probes", "tokens", "forced"),
    [
        ({10: "b", 20: "c"}, 9, None),
        ({10: "b", 20: "c"}, 10, "b"),
        ({10: "b", 20: "c"}, 19, "b"),
        ({10: "b", 20: "c"}, 20, "c"),
        ({10: "b", 20: None}, 25, None),
        ({10: "b", 20: "c"}, 35, None),  # a probe missing from an otherwise probed trace was not answered
        ({}, 25, None),
    ],
)
async def test_an_answer_is_forced_as_it_was_at_the_last_probe_before(probes, tokens, forced):
    force = RecordedForce([RecordedTrace(5, "x", {1: "y"}), RecordedTrace(40, "a", probes)], cost=6)
    assert await force(Snapshot(1, tokens, "")) == (forced, 6)


async def test_forced_answers_are_charged_once_and_known_at_once_from_then_on():
    traces = [RecordedTrace(12, "a"), RecordedTrace(40, "b", {10: "a", 20: "b"}), RecordedTrace(13, "a", {10: "c"})]
    race = ReplayRace(traces, PLAIN, 4, ProbeJudge(RecordedForce(traces, 4)))
    for trace in range(3):
        race.start(trace, None)
    await race.next()
    race.judge(((1, 0), (2, 0)))
    race.judge(((1, 0),))
    assert await race.next() == Judged({(1, 0): 1.0})  # asked second, but nothing had to be forced again
    assert await race.next() == Finished(2, 13, "a")
    assert await race.next() == Judged({(1, 0): 1.0, (2, 0): 0.0})
    assert (race.now, race.probe_tokens, race.judge_prompt_tokens) == (16, 8, 0)
    race.judge(((1, 0), (1, 2)))
    assert await race.next() == Judged({(1, 0): 1.0, (1, 2): 1.0})
    assert (race.now, race.probe_tokens) == (20, 12)
