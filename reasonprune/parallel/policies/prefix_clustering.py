"""DeepPrune as published (arXiv 2510.08483): cluster all traces once at a fixed length, finish a sample of them.

The paper lets only the largest cluster vote; `vote = "weighted"` finishes some of every cluster, and each finished
trace votes for as many as it stands for.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random

from reasonprune.parallel.clusters import Clusters
from reasonprune.parallel.protocol import (
    Action,
    Decide,
    Event,
    Failed,
    Finished,
    Grew,
    Judge,
    Judged,
    Prune,
    Signals,
    Spawn,
)
from reasonprune.parallel.votes import Ballot
from reasonprune.policy_options import DeepPruneOptions


class PrefixClustering:
    """All traces run to `prefix` tokens, are visited one by one, and most of those found redundant are stopped."""

    def __init__(self, options: DeepPruneOptions) -> None:
        self._options = options
        self.signals = Signals(every=options.prefix, judges=True)
        self._random = Random(0)
        self._clusters = Clusters(options.threshold, options.comparisons, options.clusters, self._random)
        self._waiting: set[int] = set()  # traces that have neither ended nor reached the prefix
        self._to_visit: list[int] | None = None
        self._running: set[int] = set()
        self._weights: dict[int, float] = {}
        self._finished = Ballot()
        self._note = ""

    def begin(self) -> list[Action]:
        count = self._options.first_wave
        self._running, self._waiting = set(range(count)), set(range(count))
        return [Spawn() for _ in range(count)]

    def on(self, event: Event) -> list[Action]:
        if isinstance(event, Judged):
            return self._judged(event)
        if isinstance(event, Finished):
            self._running.discard(event.trace)
            self._finished.add(event.trace, event.answer, self._weights.get(event.trace, 1.0))
        elif isinstance(event, Failed):
            self._running.discard(event.trace)
        if isinstance(event, (Grew, Finished, Failed)):
            self._waiting.discard(event.trace)
            if not self._waiting and self._to_visit is None:
                return self._visit_all()
        return self._settle()

    def _visit_all(self) -> list[Action]:
        """Traces that have ended are visited too: what runs may be redundant to them."""
        self._to_visit = sorted(self._running | self._finished.answers.keys())
        return self._visit_next()

    def _visit_next(self) -> list[Action]:
        while self._to_visit:
            pairs = self._clusters.ask(self._to_visit[0])
            if pairs:
                return [Judge(pairs)]
            self._clusters.place(self._to_visit.pop(0), {})
        return self._stop_redundant()

    def _judged(self, event: Judged) -> list[Action]:
        if event.failure:
            self._to_visit = []
            self._note = f"; without its judge ({event.failure})"
            return self._settle()
        assert self._to_visit, "the judge is asked about the trace that is visited next"
        self._clusters.place(self._to_visit.pop(0), event.similarities)
        return self._visit_next()

    def _stop_redundant(self) -> list[Action]:
        alive = self._running | self._finished.answers.keys()
        clusters = [sound for cluster in self._clusters.members if (sound := [t for t in cluster if t in alive])]
        if all(len(cluster) == 1 for cluster in clusters):
            everyone = [cluster[0] for cluster in clusters]
            chosen = self._sample(everyone, self._options.fallback)
            self._note = f"; no two of {len(clusters)} traces were judged alike"
        elif self._options.vote == "largest":
            largest = max(clusters, key=len)
            chosen = self._sample(largest, self._options.finish)
            self._note = f"; the largest of {len(clusters)} clusters voted, {len(largest)} traces"
            outside = set(self._finished.answers) - set(largest)
            self._finished.weights.update(dict.fromkeys(outside, 0.0))
        else:
            chosen = self._sample_each(clusters)
            self._note = f"; {len(clusters)} clusters voted, each with the weight of its traces"
        redundant = sorted(self._running - chosen)
        self._running &= chosen
        prunes: list[Action] = [Prune(trace, "judged to end like a trace that goes on") for trace in redundant]
        return [*prunes, *self._settle()]

    def _sample(self, cluster: Collection[int], most: int) -> set[int]:
        """At most `most` members to finish; those that have ended come first, since they cost nothing more."""
        ended = [trace for trace in cluster if trace in self._finished.answers]
        running = [trace for trace in cluster if trace in self._running]
        return set(ended[:most]) | set(self._random.sample(running, min(max(0, most - len(ended)), len(running))))

    def _sample_each(self, clusters: list[list[int]]) -> set[int]:
        """The finish budget shared out by size, one trace at least; weights make up for those that are stopped."""
        total = sum(map(len, clusters))
        chosen: set[int] = set()
        for cluster in clusters:
            sample = self._sample(cluster, max(1, round(self._options.finish * len(cluster) / total)))
            chosen |= sample
            weight = len(cluster) / max(1, len(sample))
            for trace in cluster:
                self._weights[trace] = weight if trace in sample else 0.0
                if trace in self._finished.weights:
                    self._finished.weights[trace] = self._weights[trace]
        return chosen

    def _settle(self) -> list[Action]:
        """Decided as soon as the traces that still run cannot change the leader."""
        if self._to_visit is None or self._to_visit or not self._finished.answers:
            return []
        votes = list(self._finished.votes.values())
        open_votes = sum(self._weights.get(trace, 1.0) for trace in self._running)
        lead = votes[0] - (votes[1] if len(votes) > 1 else 0.0) if votes else 0.0
        if any(votes) and (not self._running or lead > open_votes):
            return [self._decide("the vote is decided")]
        return []

    def _decide(self, why: str) -> Decide:
        return self._finished.decide(f"{why} after {len(self._finished.answers)} traces{self._note}")

    def conclude(self) -> Decide:
        votes = self._finished.votes
        if votes and not any(votes.values()):
            self._finished.weights = dict.fromkeys(self._finished.answers, 1.0)
            self._note += "; none of those that were to vote gave an answer, so all others vote"
        return self._decide("all traces have ended")
