"""One order of layers for several programs in one batch, in which requests share a layer's weights wherever they can.

Programs that skip different layers meet again at the layers that both keep. A decoding step on few tokens costs what
reading the weights costs, so each layer should be read once for all that need it: the schedule is a common
supersequence of the programs, short where it can be. Requests at the same layer may keep it in different slots of KV
cache, where one of them runs it for the second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from reasonprune.depth.slots import slots_of


@dataclass(frozen=True, slots=True)
class Step:
    """One run of `layer` for some programs: (program's number, slot of KV cache for this run), by number."""

    layer: int
    members: tuple[tuple[int, int], ...]


@lru_cache(maxsize=1024)
def schedule(programs: tuple[tuple[int, ...], ...], layers: int) -> tuple[Step, ...]:
    """Steps that run every program's layers in its order, on a model of `layers`; members of a step run together.

    Two programs share as much as they can; more are merged one after the other, the longest first.
    """
    order = sorted(range(len(programs)), key=lambda number: -len(programs[number]))
    merged: list[int] = []
    for number in order:
        merged = _merge(merged, programs[number])
    slots = [slots_of(program, layers) for program in programs]
    at = [0] * len(programs)
    steps = []
    for layer in merged:
        members = []
        for number, program in enumerate(programs):
            if at[number] < len(program) and program[at[number]] == layer:
                members.append((number, slots[number][at[number]]))
                at[number] += 1
        if members:  # an occurrence that earlier programs needed may be met earlier by all of them
            steps.append(Step(layer, tuple(members)))
    return tuple(steps)


def _merge(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """A shortest common supersequence. O(len(left) * len(right))."""
    rest = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left), -1, -1):
        for j in range(len(right), -1, -1):
            if i == len(left) or j == len(right):
                rest[i][j] = len(left) - i + len(right) - j
            elif left[i] == right[j]:
                rest[i][j] = 1 + rest[i + 1][j + 1]
            else:
                rest[i][j] = 1 + min(rest[i + 1][j], rest[i][j + 1])
    merged: list[int] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] == right[j]:
            merged.append(left[i])
            i, j = i + 1, j + 1
        elif rest[i + 1][j] <= rest[i][j + 1]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return [*merged, *left[i:], *right[j:]]
