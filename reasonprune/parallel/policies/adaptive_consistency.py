"""Adaptive consistency: one trace after the other until the leader is safe (Aggarwal et al., arXiv 2305.11860)."""

from __future__ import annotations

from reasonprune.parallel.protocol import Action, Decide, Event, Failed, Finished, Signals, Spawn
from reasonprune.parallel.votes import Ballot
from reasonprune.policy_options import AdaptiveConsistencyOptions


class AdaptiveConsistency:
    """Fewest tokens of the published rules, at the price of waiting for each trace in turn."""

    signals = Signals()

    def __init__(self, options: AdaptiveConsistencyOptions) -> None:
        self._options = options
        self._ballot = Ballot()
        self._started = 1

    def begin(self) -> list[Action]:
        return [Spawn()]

    def on(self, event: Event) -> list[Action]:
        if isinstance(event, Finished):
            self._ballot.add(event.trace, event.answer)
            if self._ballot.confidence >= self._options.threshold:
                return [self._ballot.decide(f"leader beats runner-up with probability {self._ballot.confidence:.3f}")]
        if isinstance(event, (Finished, Failed)) and self._started < self._options.n:
            self._started += 1
            return [Spawn()]
        return []

    def conclude(self) -> Decide:
        return self._ballot.decide(f"n = {self._options.n} traces finished without a safe leader")
