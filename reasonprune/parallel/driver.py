"""The one driver: runs a policy over a race, keeps the books, and fails open when the policy does not keep its word."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from reasonprune.errors import EngineError, PoolError
from reasonprune.parallel.protocol import (
    Action,
    Decide,
    Evaluate,
    Evaluated,
    Event,
    Failed,
    Finished,
    Judge,
    Judged,
    Policy,
    Probe,
    Prune,
    Spawn,
)
from reasonprune.parallel.race import Race

logger = logging.getLogger(__name__)


@dataclass
class Trace:
    """What the books hold of one trace. Times are in the race's units."""

    index: int
    started_at: float
    temperature: float | None = None
    state: Literal["running", "finished", "pruned", "failed"] = "running"
    answer: str | None = None
    reason: str | None = None
    ended_at: float | None = None


@dataclass
class Outcome:
    """How a race went. `kept` are the traces to return, best first; some may still be running."""

    decision: Decide
    kept: tuple[int, ...]
    traces: dict[int, Trace]
    decided_at: float
    failure: str | None = None
    probes: int = 0  # answers that were forced
    policy_ms: float = 0.0  # spent in the policy itself, in the race's units: 0 in replay


class Driver:
    """Feeds events to a policy and carries out its actions on a race, up to the decision."""

    def __init__(self, policy: Policy, race: Race, choices: int = 1) -> None:
        self._policy = policy
        self._race = race
        self._choices = choices
        self._traces: dict[int, Trace] = {}
        self._decision: Decide | None = None
        self._failure: str | None = None
        self._probes = 0
        self._evaluations = 0  # asked for and not yet answered
        self._policy_ms = 0.0

    async def run(self) -> Outcome:
        """Run to the decision. Traces to be returned that have not finished go on running; all others are stopped.

        Raises:
            EngineError: the engine is gone.
            PoolError: recorded traces lack what the policy asks for.
        """
        self._consult(self._policy.begin)
        while self._decision is None:
            if not self._running and not self._evaluations:
                self._consult(lambda: [self._policy.conclude()])
                continue
            event = await self._race.next()
            if isinstance(event, Evaluated):
                self._evaluations -= 1
            elif not isinstance(event, Judged):
                trace = self._traces[event.trace]
                if trace.state != "running":
                    continue  # an event that was under way when the trace was stopped
                self._book(trace, event)
            self._consult(lambda event=event: self._policy.on(event))  # type: ignore[misc]
        kept = self._keep(self._decision)
        return Outcome(self._decision, kept, self._traces, self._race.now, self._failure, self._probes, self._policy_ms)

    @property
    def _running(self) -> list[int]:
        return [trace.index for trace in self._traces.values() if trace.state == "running"]

    @property
    def _finished(self) -> list[int]:
        return [trace.index for trace in self._traces.values() if trace.state == "finished"]

    def _book(self, trace: Trace, event: Event) -> None:
        if isinstance(event, Finished):
            trace.state, trace.answer, trace.ended_at = "finished", event.answer, self._race.now
        elif isinstance(event, Failed):
            trace.state, trace.ended_at = "failed", self._race.now

    def _consult(self, ask: Callable[[], list[Action]]) -> None:
        began = self._race.now
        try:
            for action in ask():
                if self._decision is None:
                    self._apply(action)
        except (EngineError, PoolError):
            raise
        except Exception as error:
            logger.exception("The policy failed; the request goes on without it.")
            self._fall_back(f"{type(error).__name__}: {error}")
        self._policy_ms += self._race.now - began

    def _apply(self, action: Action) -> None:
        if isinstance(action, Spawn):
            self._spawn(action.temperature)
        elif isinstance(action, Prune):
            self._stop(action.trace, action.reason)
        elif isinstance(action, Probe):
            if self._traces[action.trace].state == "running":
                self._probes += 1
                self._race.probe(action.trace)
        elif isinstance(action, Judge):
            self._race.judge(action.pairs)
        elif isinstance(action, Evaluate):
            self._evaluations += 1
            self._race.evaluate(action.traces)
        else:
            if not set(action.ranking) <= self._traces.keys():
                raise ValueError(f"the decision ranks traces that were never started: {action.ranking}")
            self._decision = action

    def _spawn(self, temperature: float | None = None) -> int:
        index = len(self._traces)
        self._traces[index] = Trace(index, self._race.now, temperature)
        self._race.start(index, temperature)
        return index

    def _stop(self, index: int, reason: str) -> None:
        trace = self._traces[index]
        if trace.state == "running":
            trace.state, trace.reason, trace.ended_at = "pruned", reason, self._race.now
            self._race.stop(index)

    def _fall_back(self, failure: str) -> None:
        """Decide without the policy: the first finished trace, else the longest running one, else a new one."""
        self._failure = failure
        best = self._finished or sorted(self._running, key=self._race.tokens, reverse=True) or [self._spawn()]
        self._decision = Decide((best[0],), "the policy failed; answered with one trace, as the plain engine would")

    def _keep(self, decision: Decide) -> tuple[int, ...]:
        """The traces to return: as ranked, then finished, then the longest running, then new ones; the rest stops."""
        candidates = [trace for trace in decision.ranking if self._traces[trace].state in ("finished", "running")]
        if decision.forced and candidates and self._traces[candidates[0]].state == "running":
            self._stop(candidates[0], "closed by its probed answer")
        candidates += [trace for trace in self._finished if trace not in candidates]
        running = sorted(self._running, key=self._race.tokens, reverse=True)
        candidates += [trace for trace in running if trace not in candidates]
        kept = candidates[: self._choices]
        kept += [self._spawn() for _ in range(self._choices - len(kept))]
        for trace in self._running:
            if trace not in kept:
                self._stop(trace, decision.reason)
        return tuple(kept)
