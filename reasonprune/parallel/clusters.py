"""Greedy clustering of traces by pairwise similarity (DeepPrune, arXiv 2510.08483)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

Pairs = tuple[tuple[int, int], ...]


@dataclass
class Clusters:
    """Traces are visited one after the other: each joins the most similar cluster above `threshold` or opens a new one.

    The similarity to a cluster is the mean over at most `comparisons` members, drawn at random. Where `most` clusters
    are open and none is similar enough, the trace joins the most similar one.
    """

    threshold: float
    comparisons: int
    most: int
    random: Random = field(default_factory=lambda: Random(0))
    members: list[list[int]] = field(default_factory=list)
    _drawn: list[list[int]] = field(default_factory=list)

    def ask(self, trace: int) -> Pairs:
        """The pairs to be judged before `trace` can be placed."""
        self._drawn = [self.random.sample(c, min(self.comparisons, len(c))) for c in self.members]
        return tuple((trace, member) for drawn in self._drawn for member in drawn)

    def place(self, trace: int, similarities: Mapping[tuple[int, int], float]) -> int:
        """Puts `trace` into a cluster, given what was asked for; returns the cluster's index."""
        best, nearest = -1.0, -1
        for index, drawn in enumerate(self._drawn):
            mean = sum(similarities[trace, member] for member in drawn) / len(drawn)
            if mean > best:
                best, nearest = mean, index
        if best > self.threshold or len(self.members) >= self.most:
            self.members[nearest].append(trace)
            return nearest
        self.members.append([trace])
        return len(self.members) - 1
