"""A layer program: which decoder layers a request runs, in which order. Written like `0-9,12-29` or `0-5,5,6-29`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

PROGRAM_NAME = re.compile(r"[A-Za-z][\w.-]{0,63}")  # of a program in a bank; layers begin with a digit
SEGMENT = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
LONGEST = 4096  # layers; keeps `0-4095,0-4095,...` from filling the memory
EXAMPLE = "write it like 0-9,12-29 (skips 10 and 11) or 0-5,5,6-29 (runs 5 twice)"


@dataclass(frozen=True, slots=True)
class LayerProgram:
    """The layers in the order in which they run, counted from 0; never empty.

    The identity 0, 1, ..., L-1 is the model as it is. What a program costs is its length: every entry is one run of
    one decoder layer, repeats included. Embedding, final norm and output head always run.
    """

    layers: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError(f"a layer program needs at least one layer; {EXAMPLE}")
        if len(self.layers) > LONGEST:
            raise ValueError(f"a layer program has at most {LONGEST} layers, this one has {len(self.layers)}")
        if min(self.layers) < 0:
            raise ValueError(f"layers are counted from 0, but this program names {min(self.layers)}")

    @classmethod
    def full(cls, layers: int) -> LayerProgram:
        """All layers of a model that has `layers`."""
        return cls(tuple(range(layers)))

    @classmethod
    def parse(cls, text: str) -> LayerProgram:
        """The program written as `text`. Raises ValueError naming what is wrong and how to write it."""
        layers: list[int] = []
        for segment in text.replace(" ", "").split(","):
            match = SEGMENT.fullmatch(segment)
            if match is None:
                shown = repr(segment) if segment else "nothing between two commas"
                raise ValueError(f"{shown} is not a layer or a range of layers; {EXAMPLE}" if text.strip() else EMPTY)
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                backwards = ",".join(map(str, range(first, last - 1, -1)))
                raise ValueError(f"the range {segment} runs backwards; to run layers in that order write {backwards}")
            layers += range(first, last + 1)
            if len(layers) > LONGEST:
                break
        return cls(tuple(layers))

    def __str__(self) -> str:
        return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in self._segments())

    def _segments(self) -> Iterator[tuple[int, int]]:
        """Runs of ascending layers; layers that ran before stand apart from those that run for the first time."""
        first = last = self.layers[0]
        seen, repeating = {first}, False
        for layer in self.layers[1:]:
            if layer != last + 1 or (layer in seen) != repeating:
                yield first, last
                first = layer
            last, repeating = layer, layer in seen
            seen.add(layer)
        yield first, last

    @property
    def cost(self) -> int:
        """Runs of a decoder layer for one token."""
        return len(self.layers)

    def is_full(self, layers: int) -> bool:
        """Whether this is the model as it is."""
        return self.layers == tuple(range(layers))

    def problem(self, layers: int, slots: int) -> str | None:
        """Why a model of `layers` layers with KV cache for `slots` runs of a layer cannot run this; None if it can."""
        if (highest := max(self.layers)) >= layers:
            return f"it names layer {highest}, but the model has {layers} layers, 0 to {layers - 1}"
        if self.cost > slots:
            return (
                f"it runs {self.cost} layers, but the engine reserves KV cache for {slots}; use a shorter program, or"
                f" start with --reasonprune.server.depth_slots {self.cost - layers} or more"
            )
        return None


EMPTY = f"a layer program needs at least one layer; {EXAMPLE}"


@lru_cache(maxsize=4096)
def parsed(text: str) -> LayerProgram:
    """`LayerProgram.parse`, remembered."""
    return LayerProgram.parse(text)
