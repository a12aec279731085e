"""Consensus: count answers in order of finishing, stop all others once the leader is safe.

Traces that finish early are right more often than those that finish late, and the wait for the longest trace is what a
user feels; both argue for deciding on the first to finish. The measure of safety is that of adaptive consistency.
"""

from __future__ import annotations

from math import ceil

from reasonprune.parallel.protocol import Action, Decide, Event, Failed, Finished, Signals, Spawn
from reasonprune.parallel.votes import Ballot
from reasonprune.policy_options import ConsensusOptions


class Consensus:
    """`start` traces at once; decided when the leader is safe, at the latest by the lead when a quorum has ended.

    From half of the first wave on, every trace that ends in a tie brings in another one, up to n. Beyond the quorum
    more samples buy tokens and time, hardly accuracy: what leaves seven traces divided is mostly beyond the model.
    Where traces are short more of them come all the same, half as many at a time as have been started so far: a race
    that stays undecided then waits for a few generations of traces and not for n / `start` of them.
    """

    signals = Signals()

    def __init__(self, options: ConsensusOptions) -> None:
        self._options = options
        self._ballot = Ballot()
        self._started = options.first_wave
        self._quorum = ceil(round(options.quorum * options.first_wave, 9))
        self._ended = 0
        self._longest = 0  # tokens of the longest trace that has finished

    def begin(self) -> list[Action]:
        return [Spawn() for _ in range(self._started)]

    def on(self, event: Event) -> list[Action]:
        if not isinstance(event, (Finished, Failed)):
            return []
        self._ended += 1
        if isinstance(event, Finished):
            self._longest = max(self._longest, event.tokens)
            self._ballot.add(event.trace, event.answer)
        confidence = self._ballot.confidence
        if confidence >= self._options.threshold:
            return [self._decide("the leader is safe")]
        if self._ended >= self._quorum and self._ballot.answers:
            if self._longest > self._options.short or self._ended >= self._options.n:
                return [self._decide("a quorum has ended")]
            more = min(self._room, self._options.n - self._started)
            self._started += more
            return [Spawn() for _ in range(more)]
        tied = confidence <= 0.5
        if tied and self._ended * 2 >= self._options.first_wave and self._started < self._options.n:
            self._started += 1
            return [Spawn()]
        return []

    @property
    def _room(self) -> int:
        """Traces by which those that run fall short of half of those started."""
        return max(0, self._started // 2 - (self._started - self._ended))

    def _decide(self, why: str) -> Decide:
        probability = f"the leader beats the runner-up with probability {self._ballot.confidence:.3f}"
        return self._ballot.decide(f"{why}: after {self._ended} traces {probability}")

    def conclude(self) -> Decide:
        return self._decide("all traces have ended")
