"""Windows over a context that is longer than the model can read at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from reasonprune.pruner.sentences import Unit

OVERLAP = 0.2
"""Share of a window that repeats the end of the one before, so that no sentence is judged without what precedes it."""


@dataclass(frozen=True)
class Window:
    """`text[start:end]`, read by the model in one go with the question in front."""

    start: int
    end: int


def windows(units: Sequence[Unit], sizes: Sequence[int], budget: int) -> list[Window]:
    """Covers all units with windows of at most `budget` tokens; `sizes` holds the tokens of each unit.

    Windows begin and end between units. A unit longer than the budget is cut into windows of equal length by
    characters, for which its tokens are taken to be spread evenly.
    """
    found: list[Window] = []
    i = 0
    while i < len(units):
        if sizes[i] > budget:
            found += _cut(units[i], sizes[i], budget)
            i += 1
            continue
        end, total = i, 0
        while end < len(units) and total + sizes[end] <= budget:
            total += sizes[end]
            end += 1
        found.append(Window(units[i].start, units[end - 1].end))
        if end == len(units):
            break
        i = _resumed(sizes, i, end, budget) if sizes[end] <= budget else end
    return found


def _resumed(sizes: Sequence[int], begin: int, end: int, budget: int) -> int:
    """Where the next window begins: before `end` by as many units as fit into the overlap."""
    room = min(int(OVERLAP * budget), budget - sizes[end])
    start = end
    while start - 1 > begin and sizes[start - 1] <= room:
        start -= 1
        room -= sizes[start]
    return start


def _cut(unit: Unit, size: int, budget: int) -> list[Window]:
    # Tokens are not spread evenly, so pieces aim at two thirds of the budget; what still does not fit is truncated.
    pieces = -(-3 * size // (2 * budget))
    length = unit.end - unit.start
    bounds = [unit.start + length * k // pieces for k in range(pieces + 1)]
    return [Window(a, b) for a, b in itertools.pairwise(bounds) if a < b]
