"""Where each run of a layer keeps its keys and values: one slot of KV cache per run, for every program.

A layer's first run uses the layer's own slot, so requests that skip different layers still attend together in all that
both run. Further runs use the slots of layers that the program skips, then the extra ones that the engine reserves: a
program of any order fits if it has no more runs than there are slots. A request keeps its program and prefixes are
cached by program, so nobody reads what another program left in a slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import count


@lru_cache(maxsize=4096)
def slots_of(program: Sequence[int], layers: int) -> tuple[int, ...]:
    """The slot of each run of a program, for a model of `layers` layers; `layers` and above are the extra slots."""
    own = set(program)
    free = (slot for slot in count() if slot >= layers or slot not in own)
    ran: set[int] = set()
    found = []
    for layer in program:
        found.append(next(free) if layer in ran else layer)
        ran.add(layer)
    return tuple(found)
