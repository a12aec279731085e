"""DeepPrune: a judge says which running traces will end in an answer that is already present (arXiv 2510.08483).

The paper judges all traces once, at a fixed length; that is `prefix_clustering`. Here the judge is asked whenever a
trace has ended, and at every so many tokens from then on, whether those still running will end as it did. Answers that
are forced early say little about the end, but one that a finished trace also gave is nearly always kept (figures in
benchmarks/README.md): such a trace votes before it has ended, so that the vote is decided sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from random import Random

from reasonprune.parallel.policies.prefix_clustering import PrefixClustering
from reasonprune.parallel.protocol import (
    Action,
    Decide,
    Event,
    Failed,
    Finished,
    Grew,
    Judge,
    Judged,
    Policy,
    Signals,
    Spawn,
)
from reasonprune.parallel.votes import Ballot
from reasonprune.policy_options import DeepPruneOptions


def deepprune(options: DeepPruneOptions) -> Policy:
    """The policy for the moment of judging that `options` asks for."""
    return PrefixClustering(options) if options.when == "prefix" else DeepPrune(options)


class DeepPrune:
    """Judges running traces against the answers of finished ones; the vote counts both.

    Decided when one answer has most of the first wave, when the first `divided` answers are all different (more traces
    would hardly unite them), when a quorum has ended, or when the rest takes `patience` times as long as the first.
    Where traces are short all but the first of these bring in more traces instead, up to n, half as many at a time as
    have been started so far.
    """

    def __init__(self, options: DeepPruneOptions) -> None:
        self._options = options
        self.signals = Signals(every=options.every, judges=True)
        self._random = Random(0)
        self._started = 0
        self._ended = 0
        self._running: dict[int, int] = {}  # trace -> tokens as last told
        self._finished = Ballot()
        self._joined: dict[int, str] = {}  # running trace -> the answer it is expected to end in
        self._first: int | None = None  # tokens of the first trace to finish with an answer
        self._longest = 0
        self._asked: dict[int, str] = {}  # finished trace -> its answer, while a judgement is under way
        self._stale = False  # a trace has ended since the judge was asked
        self._failure: str | None = None

    def begin(self) -> list[Action]:
        return self._spawn(self._options.first_wave)

    def _spawn(self, count: int) -> list[Action]:
        for _ in range(count):
            self._running[self._started] = 0
            self._started += 1
        return [Spawn() for _ in range(count)]

    def on(self, event: Event) -> list[Action]:
        if isinstance(event, Judged):
            return self._judged(event)
        if isinstance(event, Grew):
            self._running[event.trace] = event.tokens
            clock = event.trace == next(iter(self._running))
            late = self._first is not None and event.tokens > self._options.patience * self._first
            if clock and self._first is not None:
                return (self._settle(late=True) if late else []) or self._ask()
        elif isinstance(event, (Finished, Failed)):
            self._end(event)
            waits = self._asked and self._running and not self._safe(self._finished)
            return self._ask() or ([] if waits else self._settle())
        return []

    def _end(self, event: Finished | Failed) -> None:
        self._ended += 1
        del self._running[event.trace]
        self._joined.pop(event.trace, None)
        self._stale = True
        if isinstance(event, Finished):
            self._finished.add(event.trace, event.answer)
            self._longest = max(self._longest, event.tokens)
            if self._first is None and event.answer is not None:
                self._first = event.tokens

    def _ask(self) -> list[Action]:
        """Every running trace against a sample of the finished ones of each answer.

        Nothing while the judge is busy, nor where its best word would not decide.
        """
        if self._asked or self._failure or not self._could_decide():
            return []
        pairs = []
        for answer in self._finished.votes:
            of_answer = [trace for trace, given in self._finished.answers.items() if given == answer]
            for trace in self._random.sample(of_answer, min(self._options.comparisons, len(of_answer))):
                self._asked[trace] = answer
                pairs += [(running, trace) for running in self._running]
        self._stale = False
        return [Judge(tuple(pairs))]

    def _judged(self, event: Judged) -> list[Action]:
        asked, self._asked = self._asked, {}
        self._failure = event.failure
        if event.failure:
            self._joined.clear()
        else:
            for running in self._running:
                self._join(running, asked, event)
        if self._stale and not self._safe(self._ballot_of(self._joined)):
            return self._ask() or self._settle()
        return self._settle()

    def _join(self, running: int, asked: dict[int, str], event: Judged) -> None:
        by_answer: dict[str, list[float]] = {}
        for trace, answer in asked.items():
            if (running, trace) in event.similarities:
                by_answer.setdefault(answer, []).append(event.similarities[running, trace])
        means = {answer: sum(values) / len(values) for answer, values in by_answer.items()}
        self._joined.pop(running, None)
        if means and (nearest := max(means, key=means.__getitem__)) and means[nearest] > self._options.threshold:
            self._joined[running] = nearest

    def _ballot_of(self, joined: Mapping[int, str]) -> Ballot:
        """Finished traces, and running ones as if they had ended in the answers given."""
        ballot = Ballot(dict(self._finished.answers), dict(self._finished.weights))
        for trace, answer in joined.items():
            ballot.add(trace, answer)
        return ballot

    def _could_decide(self) -> bool:
        """Whether the leader, not safe by finished traces alone, would be so if all running ones were to join it."""
        votes = self._finished.votes
        if not votes or not self._running or self._safe(self._finished):
            return False
        best = self._ballot_of(dict.fromkeys(self._running, next(iter(votes))))
        return self._safe(best)

    def _safe(self, ballot: Ballot) -> bool:
        """More than half of the first wave, and ahead by as much as the posterior asks."""
        most = max(ballot.votes.values(), default=0)
        return most > self._options.first_wave / 2 and ballot.confidence >= self._options.confidence

    def _settle(self, late: bool = False) -> list[Action]:
        """The decision, more traces, or nothing yet."""
        ballot = self._ballot_of(self._joined)
        votes = ballot.votes
        if self._safe(ballot):
            return [self._decide(ballot, "the leader is safe")]
        answers = [answer for answer in self._finished.answers.values() if answer is not None]
        scattered = len(answers) >= self._options.divided and max(votes.values()) < 2
        quorum = self._ended >= ceil(round(self._options.quorum * self._started, 9))
        if not (scattered or quorum or late) or not self._finished.answers:
            return []
        longest = max(self._longest, *self._running.values(), 0)
        if longest <= self._options.short and self._started < self._options.n:
            room = max(0, max(1, self._started // 2) - len(self._running))
            return self._spawn(min(room, self._options.n - self._started))
        if scattered:
            return [self._decide(ballot, "the first answers are all different")]
        return [self._decide(ballot, "a quorum has ended" if quorum else "the rest is late")]

    def _decide(self, ballot: Ballot, why: str) -> Decide:
        judged = f", {len(self._joined)} running ones judged to end as they did" if self._joined else ""
        failed = f"; without its judge ({self._failure})" if self._failure else ""
        return ballot.decide(f"{why}: {self._ended} traces have ended{judged}{failed}")

    def conclude(self) -> Decide:
        return self._decide(self._finished, "all traces have ended")
