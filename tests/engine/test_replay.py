import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.engine.replay import ReplayRace
from reasonprune.errors import PoolError
from reasonprune.parallel.protocol import Finished, Grew, Probed, Signals

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
