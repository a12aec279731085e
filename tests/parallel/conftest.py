import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.engine.replay import RecordedForce, ReplayRace
from reasonprune.judges import PairJudge, Snapshot
from reasonprune.judges.build import build_judge
from reasonprune.judges.probe import Forced, ProbeJudge
from reasonprune.parallel.driver import Driver, Outcome
from reasonprune.parallel.policies import build
from reasonprune.parallel.protocol import Action, Decide, Event, Failed, Finished, Policy, Signals
from reasonprune.policy_options import DeepPruneOptions, PolicyOptions

Note = tuple[str, Any]


class CountedForce(RecordedForce):
    """Recorded forced answers; counts how often one was asked for."""

    count = 0

    async def __call__(self, snapshot: Snapshot) -> Forced:
        self.count += 1
        return await super().__call__(snapshot)


class NotingRace(ReplayRace):
    """A replay that notes starts, stops and what is to be judged; traces of `failing` end in `Failed`."""

    def __init__(
        self,
        traces: Sequence[RecordedTrace],
        signals: Signals,
        probe_cost: int,
        failing: Collection[int],
        judge: PairJudge | None,
    ) -> None:
        super().__init__(traces, signals, probe_cost, judge)
        self.notes: list[Note] = []
        self._failing = failing

    def start(self, trace: int, temperature: float | None) -> None:
        self.notes.append(("start", trace))
        super().start(trace, temperature)

    def stop(self, trace: int) -> None:
        self.notes.append(("stop", trace))
        super().stop(trace)

    def judge(self, pairs: Sequence[tuple[int, int]]) -> None:
        self.notes.append(("judge", pairs))
        super().judge(pairs)

    async def next(self) -> Event:
        event = await super().next()
        failed = isinstance(event, Finished) and event.trace in self._failing
        return Failed(event.trace, event.tokens) if failed else event


@dataclass
class NotingPolicy:
    """A policy whose events are noted as it gets them."""

    policy: Policy
    notes: list[Note] = field(default_factory=list)

    @property
    def signals(self) -> Signals:
        return self.policy.signals

    def begin(self) -> list[Action]:
        return self.policy.begin()

    def on(self, event: Event) -> list[Action]:
        self.notes.append(("event", event))
        return self.policy.on(event)

    def conclude(self) -> Decide:
        return self.policy.conclude()


@dataclass
class Played:
    outcome: Outcome
    race: NotingRace
    forced: int = 0  # answers that the judge forced

    @property
    def started(self) -> list[int]:
        return [what for kind, what in self.race.notes if kind == "start"]

    @property
    def judged(self) -> list[tuple[tuple[int, int], ...]]:
        """The pairs that the judge was asked about, time by time."""
        return [what for kind, what in self.race.notes if kind == "judge"]

    @property
    def answer(self) -> str | None:
        return self.outcome.decision.answer

    @property
    def states(self) -> list[str]:
        return [trace.state for trace in self.outcome.traces.values()]


def play_race(
    loop: asyncio.AbstractEventLoop,
    policy: PolicyOptions | Policy,
    traces: Sequence[RecordedTrace],
    choices: int = 1,
    probe_cost: int = 0,
    failing: Collection[int] = (),
    judge: PairJudge | None = None,
) -> Played:
    force = CountedForce(traces, probe_cost)
    if judge is None and isinstance(policy, DeepPruneOptions):
        judge = build_judge(policy, ProbeJudge(force))
    policy = build(policy) if isinstance(policy, PolicyOptions) else policy
    race = NotingRace(traces, policy.signals, probe_cost, failing, judge)
    outcome = loop.run_until_complete(Driver(NotingPolicy(policy, race.notes), race, choices).run())
    return Played(outcome, race, force.count)


@pytest.fixture(scope="session")
def play() -> Iterator[Callable[..., Played]]:
    """Runs a policy over recorded traces with the real driver; one that judges gets its judge, or forced answers."""
    loop = asyncio.new_event_loop()
    yield partial(play_race, loop)
    loop.close()
