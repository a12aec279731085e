from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.engine.replay import ReplayRace
from reasonprune.errors import EngineError, PoolError
from reasonprune.judges.judge import Judgement, Pair
from reasonprune.parallel.driver import Driver
from reasonprune.parallel.protocol import (
    Action,
    Decide,
    Event,
    Finished,
    Grew,
    Judge,
    Judged,
    Probe,
    Probed,
    Prune,
    Signals,
    Spawn,
)

SHORT, MIDDLE, LONG = (RecordedTrace(tokens, str(tokens), {5: "5"}) for tokens in (10, 20, 30))
POOL = (SHORT, MIDDLE, LONG, LONG)
PLAIN = "the policy failed; answered with one trace, as the plain engine would"


@dataclass
class Scripted:
    """A policy that answers each event with the next of its scripted actions."""

    first: list[Action]
    later: list[list[Action] | Exception] = field(default_factory=list)
    last: Decide | Exception = field(default_factory=lambda: Decide((), "all ended"))
    signals: Signals = field(default_factory=Signals)
    seen: list[Event] = field(default_factory=list)

    def begin(self) -> list[Action]:
        return self.first

    def on(self, event: Event) -> list[Action]:
        self.seen.append(event)
        return self._given(self.later.pop(0) if self.later else [])

    def conclude(self) -> Decide:
        return self._given(self.last)

    @staticmethod
    def _given(what):
        if isinstance(what, Exception):
            raise what
        return what


def spawn(count: int) -> list[Action]:
    return [Spawn() for _ in range(count)]


def test_a_decision_stops_all_others(play):
    outcome = play(Scripted(spawn(3), [[Decide((0,), "enough", "10", {"10": 1.0})]]), POOL).outcome
    assert outcome.kept == (0,)
    assert [trace.state for trace in outcome.traces.values()] == ["finished", "pruned", "pruned"]
    assert [trace.reason for trace in outcome.traces.values()] == [None, "enough", "enough"]
    assert [trace.ended_at for trace in outcome.traces.values()] == [10, 10, 10]
    assert outcome.decided_at == 10


def test_actions_after_a_decision_are_ignored(play):
    played = play(Scripted(spawn(1), [[Decide((0,), "enough"), Spawn(), Decide((0,), "again")]]), POOL)
    assert played.started == [0]
    assert played.outcome.decision.reason == "enough"


def test_the_best_trace_may_still_run(play):
    outcome = play(Scripted(spawn(2), [[Decide((1,), "enough")]]), POOL).outcome
    assert outcome.kept == (1,)
    assert outcome.traces[1].state == "running"


def test_a_forced_decision_stops_the_best_trace(play):
    policy = Scripted(
        spawn(2),
        [[Probe(0)], [Probe(1)], [], [Decide((1,), "forced", "5", forced=True)]],
        signals=Signals(every=5, probes=True),
    )
    outcome = play(policy, POOL).outcome
    assert policy.seen == [Grew(0, 5), Grew(1, 5), Probed(0, 5, "5"), Probed(1, 5, "5")]
    assert outcome.probes == 2
    assert outcome.traces[1].state == "pruned"
    assert outcome.traces[1].reason == "closed by its probed answer"
    assert outcome.kept == (1,)  # cut short, but returned


def test_events_of_stopped_traces_do_not_reach_the_policy(play):
    policy = Scripted(spawn(3), [[Prune(1, "hopeless"), Prune(1, "again")]])
    outcome = play(policy, POOL).outcome
    assert policy.seen == [Finished(0, 10, "10"), Finished(2, 30, "30")]
    assert (outcome.traces[1].state, outcome.traces[1].reason) == ("pruned", "hopeless")


async def test_an_event_that_was_under_way_when_its_trace_was_stopped_is_dropped():
    class Late(ReplayRace):
        def stop(self, trace: int) -> None:
            pass  # as on a live engine, where an abort takes a step

    policy = Scripted(spawn(3), [[Prune(1, "hopeless")]])
    outcome = await Driver(policy, Late(POOL, policy.signals)).run()
    assert [event.trace for event in policy.seen] == [0, 2]
    assert outcome.traces[1].state == "pruned"


def test_probing_a_finished_trace_does_nothing(play):
    policy = Scripted(spawn(2), [[Probe(0)]])
    assert play(policy, POOL).outcome.probes == 0


def test_traces_are_numbered_in_order_of_spawning(play):
    temperatures = [None, 0.5, 1.0]
    outcome = play(Scripted([Spawn(t) for t in temperatures]), POOL).outcome
    assert [(i, trace.temperature) for i, trace in outcome.traces.items()] == list(enumerate(temperatures))


@pytest.mark.parametrize(
    ("choices", "kept", "started"),
    [
        (1, (1,), 3),
        (2, (1, 0), 3),  # as ranked, then finished
        (3, (1, 0, 2), 3),  # then the longest running
        (4, (1, 0, 2, 3), 4),  # then new ones
    ],
)
def test_choices(play, choices, kept, started):
    played = play(Scripted(spawn(3), [[], [Decide((1,), "enough")]]), POOL, choices=choices)
    assert played.outcome.kept == kept
    assert len(played.started) == started


def test_ranked_traces_that_were_stopped_or_failed_are_passed_over(play):
    policy = Scripted([*spawn(3), Prune(0, "hopeless")], last=Decide((0, 1, 2), "all ended"))
    assert play(policy, POOL, failing={1}).outcome.kept == (2,)


class Half:
    """A judge that is never sure; what it says costs `generated` tokens."""

    def __init__(self, generated: int = 0) -> None:
        self._generated = generated

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        return Judgement([0.5] * len(pairs), self._generated)


def test_a_policy_is_told_what_the_judge_says(play):
    policy = Scripted(spawn(3), [[Judge(((1, 0), (2, 0)))], [Decide((0,), "judged")]])
    played = play(policy, POOL, judge=Half())
    assert played.judged == [((1, 0), (2, 0))]
    assert policy.seen == [Finished(0, 10, "10"), Judged({(1, 0): 0.5, (2, 0): 0.5})]
    assert (played.outcome.decision.reason, played.outcome.decided_at, played.outcome.probes) == ("judged", 10, 0)


def test_a_judgement_may_be_about_traces_that_were_stopped_since(play):
    policy = Scripted(spawn(3), [[Judge(((1, 0),)), Prune(1, "hopeless")]])
    outcome = play(policy, POOL, judge=Half(4), probe_cost=4).outcome
    assert policy.seen == [Finished(0, 10, "10"), Judged({(1, 0): 0.5}), Finished(2, 30, "30")]
    assert [trace.state for trace in outcome.traces.values()] == ["finished", "pruned", "finished"]


def test_a_judgement_is_not_awaited_once_all_traces_have_ended(play):
    policy = Scripted(spawn(2), [[], [Judge(((1, 0),))]])
    outcome = play(policy, POOL, judge=Half(4), probe_cost=4).outcome
    assert (outcome.decision.reason, outcome.decided_at) == ("all ended", 20)


def test_nothing_is_judged_after_a_decision(play):
    assert play(Scripted(spawn(2), [[Decide((0,), "enough"), Judge(((1, 0),))]]), POOL, judge=Half()).judged == []


@pytest.mark.parametrize(
    "policy",
    [
        Scripted(spawn(2), [ValueError("no")]),
        Scripted(spawn(2), [[Decide((7,), "never started")]]),
        Scripted(spawn(2), [[Prune(7, "never started")]]),
        Scripted(spawn(2), [[Probe(7)]]),
        Scripted(spawn(2), [[Judge(((0, 7),))]]),
        Scripted(spawn(2), last=ValueError("no")),
    ],
    ids=["raises", "ranks", "prunes", "probes", "judges", "concludes"],
)
def test_a_broken_policy_leaves_the_first_finished_trace(play, policy):
    outcome = play(policy, POOL).outcome
    assert outcome.kept == (0,)
    assert outcome.decision.reason == PLAIN
    assert outcome.failure
    assert "running" not in {trace.state for trace in outcome.traces.values()}


def test_a_policy_that_breaks_early_leaves_the_longest_running_trace(play):
    late = Scripted([Spawn()], [[Spawn()], ValueError("no")], signals=Signals(every=8))
    outcome = play(late, (LONG, LONG)).outcome
    assert outcome.kept == (0,)
    assert [trace.state for trace in outcome.traces.values()] == ["running", "pruned"]


@pytest.mark.parametrize("first", [[Prune(0, "nobody")], [Decide((0,), "nobody")]])
def test_a_policy_that_breaks_at_once_leaves_one_new_trace(play, first):
    played = play(Scripted(first), POOL)
    assert played.started == [0]
    assert played.outcome.kept == (0,)
    assert played.outcome.failure.startswith(("KeyError: ", "ValueError: "))


def test_a_policy_that_starts_nothing_gets_one_trace(play):
    assert play(Scripted([]), POOL).outcome.kept == (0,)


@pytest.mark.parametrize("error", [EngineError("gone"), PoolError("no probes")])
def test_errors_of_the_race_are_not_the_policys(play, error):
    class Broken(Scripted):
        def on(self, event: Event) -> list[Action]:
            raise error

    with pytest.raises(type(error), match=error.message):
        play(Broken(spawn(2)), POOL)


async def test_a_dead_engine_ends_the_race():
    class Dead:
        now = 0.0
        probe_tokens = 0
        start: Callable[..., None] = staticmethod(lambda trace, temperature: None)

        async def next(self) -> Event:
            raise EngineError("gone")

    with pytest.raises(EngineError, match="gone"):
        await Driver(Scripted(spawn(1)), Dead()).run()
