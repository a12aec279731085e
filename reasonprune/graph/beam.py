"""The three-step beam: many paths by similarity, fewer by their branches, the last few by a closer look."""

from __future__ import annotations

from collections.abc import Sequence

from reasonprune.graph.explore import Path
from reasonprune.graph.store import Step

OPEN = 0.5  # paths this close to the best are worth a closer look


def fuzzy(paths: Sequence[Path], width: int) -> list[Path]:
    """The `width` best by score."""
    return sorted(paths, key=lambda path: -path.score)[:width]


def branch_reduced(paths: Sequence[Path], most: int) -> list[Path]:
    """At most `most`: whole branches (paths of one first step) go, the worst first, then the worst paths."""
    if len(paths) <= most:
        return list(paths)
    best: dict[Step, float] = {}
    for path in paths:
        first = path.steps[0]
        best[first] = max(best.get(first, path.score), path.score)
    kept: list[Path] = []
    for branch in sorted(best, key=lambda step: -best[step]):
        if len(kept) >= most:
            break
        kept += [path for path in paths if path.steps[0] == branch]
    return fuzzy(kept, most)


def undecided(paths: Sequence[Path]) -> list[Path]:
    """The best path and those that come close to it, best first."""
    ranked = sorted(paths, key=lambda path: -path.score)
    return [path for path in ranked if path.score >= ranked[0].score - OPEN] if ranked else []


def preferred(paths: Sequence[Path], chosen: Sequence[Path]) -> list[Path]:
    """`paths` with those that were chosen on a closer look in front, in the order of choice."""
    return [*chosen, *(path for path in paths if path not in chosen)]
