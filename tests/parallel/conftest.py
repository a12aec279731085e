from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.engine.replay import ReplayRace
from reasonprune.options import PolicyOptions
from reasonprune.parallel.driver import Driver, Outcome
from reasonprune.parallel.policies import build
from reasonprune.parallel.protocol import Action, Decide, Event, Failed, Finished, Policy, Signals

Note = tuple[str, Any]


class NotingRace(ReplayRace):
    """A replay that notes starts and stops; traces of `failing` end in `Failed`."""

    def __init__(
        self, traces: Sequence[RecordedTrace], signals: Signals, probe_cost: int, failing: Collection[int]
    ) -> None:
        super().__init__(traces, signals, probe_cost)
        self.notes: list[Note] = []
        self._failing = failing

    def start(self, trace: int, temperature: float | None) -> None:
        self.notes.append(("start", trace))
        super().start(trace, temperature)

    def stop(self, trace: int) -> None:
        self.notes.append(("stop", trace))
        super().stop(trace)

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

    @property
    def started(self) -> list[int]:
        return [what for kind, what in self.race.notes if kind == "start"]

    @property
    def answer(self) -> str | None:
        return self.outcome.decision.answer

    @property
    def states(self) -> list[str]:
        return [trace.state for trace in self.outcome.traces.values()]


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits, as those of a replay do not; no event loop needed."""
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    return stop.value.value


def play_race(
    policy: PolicyOptions | Policy,
    traces: Sequence[RecordedTrace],
    choices: int = 1,
    probe_cost: int = 0,
    failing: Collection[int] = (),
) -> Played:
    policy = build(policy) if isinstance(policy, PolicyOptions) else policy
    race = NotingRace(traces, policy.signals, probe_cost, failing)
    outcome = finish(Driver(NotingPolicy(policy, race.notes), race, choices).run())
    return Played(outcome, race)


@pytest.fixture(scope="session")
def play() -> Callable[..., Played]:
    """Runs a policy over recorded traces with the real driver."""
    return play_race
