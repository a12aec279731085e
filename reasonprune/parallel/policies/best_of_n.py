"""Adaptive best-of-N: sample until the model itself expects no better from a fresh trace (Manvi et al., 2410.02725).

Traces come in waves; every one that ends is evaluated, and the race is over when one passes the threshold. At set
lengths those of a wave that still run are evaluated too, and only the best go on.
"""

from __future__ import annotations

from math import ceil, gcd

from reasonprune.parallel.protocol import (
    Action,
    Decide,
    Evaluate,
    Evaluated,
    Event,
    Failed,
    Finished,
    Grew,
    Prune,
    Signals,
    Spawn,
)
from reasonprune.parallel.votes import Ballot
from reasonprune.policy_options import BestOfNOptions
from reasonprune.selfeval.score import SelfScore

LEAST_WEIGHT = 1e-9  # a vote of nothing would be no vote, not even where all are


class BestOfN:
    """Without scores, since the self-evaluation failed, all n traces vote with equal weight."""

    def __init__(self, options: BestOfNOptions) -> None:
        self._options = options
        self._prunings = options.prunings
        self._lengths = list(self._prunings)
        self.signals = Signals(every=gcd(*self._lengths), evaluates=True)
        self._waves = options.wave_sizes
        self._started = 0
        self._running: dict[int, int] = {}  # trace -> its length when it was last heard of
        self._finished: dict[int, str | None] = {}
        self._scores: dict[int, SelfScore] = {}
        self._checks: list[tuple[int, ...]] = []  # asked for and not yet answered
        self._to_prune: tuple[int, ...] = ()
        self._keep = 1.0  # of those, rounded up
        self._next_length = 0
        self._failure: str | None = None

    def begin(self) -> list[Action]:
        return self._start_wave()

    def _start_wave(self) -> list[Action]:
        size = self._waves.pop(0)
        wave = range(self._started, self._started + size)
        self._started += size
        self._running = dict.fromkeys(wave, 0)
        self._next_length = 0
        return [Spawn(self._temperature(trace)) for trace in wave]

    def _temperature(self, trace: int) -> float | None:
        """From greedy upwards, so that easy questions end with the likeliest trace and hard ones explore."""
        most = self._options.temperature
        return most * (1 - 0.5**trace) if self._options.anneal and most is not None else None

    def on(self, event: Event) -> list[Action]:
        if isinstance(event, Evaluated):
            return self._evaluated(event)
        if isinstance(event, Grew):
            self._running[event.trace] = event.tokens
            return self._check_running()
        if not isinstance(event, (Finished, Failed)):
            return []
        self._running.pop(event.trace, None)
        if isinstance(event, Finished):
            self._finished[event.trace] = event.answer
            if self._failure is None:
                return [self._ask((event.trace,)), *self._check_running()]
        return [*self._check_running(), *self._advance()]

    def _ask(self, traces: tuple[int, ...]) -> Evaluate:
        self._checks.append(traces)
        return Evaluate(traces)

    def _check_running(self) -> list[Action]:
        """Once all that still run have come to the next of the set lengths, they are evaluated side by side."""
        if self._failure or self._to_prune or self._next_length >= len(self._lengths):
            return []
        length = self._lengths[self._next_length]
        if not self._running or min(self._running.values()) < length:
            return []
        self._next_length += 1
        self._keep = self._prunings[length]
        if self._kept_of(len(self._running)) >= len(self._running):
            return []
        self._to_prune = tuple(self._running)
        return [self._ask(self._to_prune)]

    def _kept_of(self, count: int) -> int:
        return ceil(round(self._keep * count, 9))

    def _evaluated(self, event: Evaluated) -> list[Action]:
        asked = event.traces
        self._checks.remove(asked)
        if event.failure:
            self._failure, self._to_prune = event.failure, ()
            return self._advance()
        self._scores |= {t: score for t, score in event.scores.items() if t not in self._finished or asked == (t,)}
        for trace in event.scores.keys() & self._finished.keys():
            content = self._scores[trace].content if trace in self._scores else 0.0
            if content >= self._options.threshold:
                return [self._decide(f"trace {trace} is {content:.2f} sure that a fresh one would do no better")]
        if asked == self._to_prune:
            return [*self._prune_worst(event), *self._check_running(), *self._advance()]
        return self._advance()

    def _prune_worst(self, event: Evaluated) -> list[Action]:
        """Of those that were compared, and still run; a trace without a score ranks last."""
        compared, self._to_prune = self._to_prune, ()
        values = {trace: event.scores[trace].value if trace in event.scores else -1.0 for trace in compared}
        if len(set(values.values())) == 1:
            return []  # nothing tells them apart
        order = sorted(compared, key=lambda trace: -values[trace])
        worst = [trace for trace in order[self._kept_of(len(order)) :] if trace in self._running]
        for trace in worst:
            del self._running[trace]
        place = f"not among the best {self._kept_of(len(order))} of {len(order)} by self-evaluation"
        return [Prune(trace, f"{place}, {max(values[trace], 0):.2f}") for trace in sorted(worst)]

    def _advance(self) -> list[Action]:
        """The next wave once this one has ended and is evaluated."""
        if self._running or self._checks:
            return []
        return self._start_wave() if self._waves else [self.conclude()]

    def _decide(self, why: str) -> Decide:
        values = {trace: self._scores[trace].value for trace in self._finished if trace in self._scores}
        mean = sum(values.values()) / len(values) if values else 1.0
        ballot = Ballot()
        for trace, answer in self._finished.items():
            weight = max(values.get(trace, mean), LEAST_WEIGHT)
            ballot.add(trace, answer, weight if self._options.select == "weighted" and not self._failure else 1.0)
        decision = ballot.decide(self._reason(why, values))
        if not decision.votes or not values:
            return decision
        # Among traces of one answer the best is returned; by score, the best of all that have an answer.
        places = {answer: place for place, answer in enumerate(decision.votes)}
        by_score = self._options.select == "score"

        def standing(trace: int) -> tuple[float, float]:
            answer = self._finished[trace]
            place = len(places) if answer is None else 0 if by_score else places[answer]
            return place, -values.get(trace, -1.0)

        ranking = tuple(sorted(decision.ranking, key=standing))
        return Decide(ranking, decision.reason, self._finished[ranking[0]], decision.votes)

    def _reason(self, why: str, values: dict[int, float]) -> str:
        rule = {"score": "the best score", "majority": "the majority", "weighted": "the score-weighted majority"}
        reason = f"{why}; {rule[self._options.select]} of {len(self._finished)} finished traces"
        if self._failure:
            return f"{why}; without self-evaluation the majority of {len(self._finished)} finished traces"
        if len(values) > 1 and len(set(values.values())) == 1:
            reason += "; all their scores are equal, so they do not count"
        return reason

    def conclude(self) -> Decide:
        return self._decide("all traces have ended")
