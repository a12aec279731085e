"""Self-consistency: every trace to its end, then the majority (Wang et al., arXiv 2203.11171)."""

from __future__ import annotations

from reasonprune.parallel.protocol import Action, Decide, Event, Finished, Signals, Spawn
from reasonprune.parallel.votes import Ballot
from reasonprune.policy_options import SelfConsistencyOptions


class SelfConsistency:
    """The strong simple baseline that every other policy is measured against."""

    signals = Signals()

    def __init__(self, options: SelfConsistencyOptions) -> None:
        self._n = options.n
        self._ballot = Ballot()

    def begin(self) -> list[Action]:
        return [Spawn() for _ in range(self._n)]

    def on(self, event: Event) -> list[Action]:
        if isinstance(event, Finished):
            self._ballot.add(event.trace, event.answer)
        return []

    def conclude(self) -> Decide:
        return self._ballot.decide(f"majority of {len(self._ballot.answers)} finished traces")
