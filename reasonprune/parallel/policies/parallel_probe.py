"""Parallel-Probe: force answers while traces run, stop at a stable majority (arXiv 2602.03845).

Traces are probed at the same lengths, so their answers form rounds. The race ends when the majority of a round has been
the same `stable` times; a trace that disagreed with the majority `patience` times in a row is stopped.
"""

from __future__ import annotations

from reasonprune.parallel.protocol import (
    Action,
    Decide,
    Event,
    Failed,
    Finished,
    Grew,
    Probe,
    Probed,
    Prune,
    Signals,
    Spawn,
)
from reasonprune.parallel.votes import Ballot
from reasonprune.policy_options import ParallelProbeOptions


class ParallelProbe:
    """All `n` traces at once; finished traces keep their vote in every later round."""

    def __init__(self, options: ParallelProbeOptions) -> None:
        self._options = options
        self.signals = Signals(every=options.every, probes=True)
        self._running: set[int] = set()
        self._finished = Ballot()
        self._probes: dict[int, dict[int, str | None]] = {}  # round -> trace -> answer
        self._round = 1
        self._majority: str | None = None
        self._streak = 0
        self._disagreed: dict[int, int] = {}

    def begin(self) -> list[Action]:
        self._running = set(range(self._options.n))
        return [Spawn() for _ in range(self._options.n)]

    def on(self, event: Event) -> list[Action]:
        if isinstance(event, Grew):
            return [Probe(event.trace)]
        if isinstance(event, Probed):
            if event.trace in self._running:
                self._probes.setdefault(event.tokens // self._options.every, {})[event.trace] = event.answer
        elif isinstance(event, (Finished, Failed)):
            self._running.discard(event.trace)
            if isinstance(event, Finished):
                self._finished.add(event.trace, event.answer)
        return self._close_rounds()

    def _close_rounds(self) -> list[Action]:
        """Judges every round that all running traces have answered."""
        actions: list[Action] = []
        while self._running and self._running <= self._probes.get(self._round, {}).keys():
            ballot = self._ballot(self._probes.pop(self._round))
            leader = next(iter(ballot.votes), None)
            self._streak = self._streak + 1 if leader is not None and leader == self._majority else 1
            self._majority = leader
            if leader is not None and self._streak >= self._options.stable:
                return [*actions, self._stop(ballot, f"the majority held for {self._streak} rounds")]
            actions += self._prune(ballot, leader)
            self._round += 1
        return actions

    def _ballot(self, probed: dict[int, str | None]) -> Ballot:
        ballot = Ballot()
        for trace, answer in self._finished.answers.items():
            ballot.add(trace, answer)
        for trace in sorted(self._running):
            ballot.add(trace, probed[trace])
        return ballot

    def _prune(self, ballot: Ballot, leader: str | None) -> list[Action]:
        pruned: list[Action] = []
        for trace in sorted(self._running):
            disagrees = leader is not None and ballot.answers[trace] != leader
            self._disagreed[trace] = self._disagreed.get(trace, 0) + 1 if disagrees else 0
            if self._round > self._options.warmup and self._disagreed[trace] >= self._options.patience:
                self._running.discard(trace)
                pruned.append(Prune(trace, f"disagreed with the majority for {self._disagreed[trace]} probes in a row"))
        return pruned

    def _stop(self, ballot: Ballot, reason: str) -> Decide:
        """A finished trace with the majority's answer if there is one, else a running one closed by its probe."""
        finished = [trace for trace, answer in self._finished.answers.items() if answer == self._majority]
        decision = ballot.decide(reason)
        ranking = (*finished, *(trace for trace in decision.ranking if trace not in finished))
        return Decide(ranking, reason, decision.answer, decision.votes, forced=not finished)

    def conclude(self) -> Decide:
        return self._finished.decide("all traces ended before the majority was stable")
