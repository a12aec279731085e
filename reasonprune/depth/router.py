"""Which layer program a prompt needs: a logistic model for each program, of whether it would be right on this prompt.

The prompt is read once, before the engine sees it: which tokens it holds, how often, and how long it is. That costs
microseconds and needs no forward pass. A program is held against full depth, not against a fixed probability: where all
layers would be wrong as well, leaving some out costs no answer. Where every program is less likely to be right than
full depth by more than a margin, the request runs full depth.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonprune.depth.program import LayerProgram
from reasonprune.errors import ModelError

BUCKETS = 512
FEATURES = BUCKETS + 2  # counts of tokens, the length, a constant
HASH = 2_654_435_761  # Knuth's multiplicative hash: neighbouring token ids fall into different buckets

Floats = NDArray[np.float32]


def features(token_ids: Sequence[int]) -> Floats:
    """Shape (FEATURES,). Vocabularies of up to BUCKETS tokens keep a bucket for each."""
    ids = np.asarray(token_ids, dtype=np.uint64)
    buckets = np.where(ids < BUCKETS, ids, (ids * np.uint64(HASH) >> np.uint64(16)) % np.uint64(BUCKETS))
    counts = np.bincount(buckets.astype(np.int64), minlength=BUCKETS).astype(np.float32)
    return np.concatenate([np.log1p(counts), [np.log1p(len(ids)), 1.0]]).astype(np.float32)


@dataclass(frozen=True)
class Route:
    """The chosen program; None: full depth. `probability` that it is right here, and why it was chosen."""

    program: LayerProgram | None
    probability: float
    reason: str


@dataclass(frozen=True)
class Router:
    """`weights`: (programs + 1, FEATURES), programs from the cheapest to the dearest, then full depth.

    `margin`: how much less likely to be right than full depth a program may be.
    """

    layers: int
    programs: tuple[LayerProgram, ...]
    weights: Floats
    margin: float
    provenance: dict[str, Any] = field(default_factory=dict)

    def probabilities(self, token_ids: Sequence[int]) -> Floats:
        """By program, then of full depth."""
        return (1 / (1 + np.exp(-(self.weights @ features(token_ids))))).astype(np.float32)

    def route(self, token_ids: Sequence[int]) -> Route:
        """The cheapest program that is likely enough to be right; full depth where none is."""
        *likely, full = self.probabilities(token_ids).tolist()
        if not self.programs:
            return Route(None, full, "the router has no program that is worth choosing")
        for program, probability in zip(self.programs, likely, strict=True):
            if probability >= full - self.margin:
                reason = f"right with probability {probability:.2f}, and {full:.2f} at full depth, says the router"
                return Route(program, probability, reason)
        best = max(likely)
        return Route(None, full, f"full depth: right with probability {full:.2f}, and {best:.2f} with fewer layers")

    def save(self, path: Path) -> None:
        """As a NumPy archive without pickled objects."""
        head = {
            "layers": self.layers,
            "programs": [str(program) for program in self.programs],
            "margin": self.margin,
            "provenance": self.provenance,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(file, head=np.array(json.dumps(head)), weights=self.weights)


def read_router(path: Path) -> Router:
    """Raises ModelError where the file is missing or not a router."""
    try:
        with path.open("rb") as file:
            # Else NumPy takes it for pickled objects, and advises to load them.
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no NumPy archive")
        with np.load(path, allow_pickle=False) as archive:
            head = json.loads(str(archive["head"]))
            weights = archive["weights"].astype(np.float32)
        programs = tuple(LayerProgram.parse(text) for text in head["programs"])
        if weights.shape != (len(programs) + 1, FEATURES):
            raise ValueError(f"weights of shape {weights.shape}")
        return Router(int(head["layers"]), programs, weights, float(head["margin"]), head["provenance"])
    except OSError as error:
        raise ModelError(f"The router {path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise ModelError(
            f"{path} is not a router of ours ({error}); make one with `reasonprune train router`."
        ) from None


def check_router(router: Router, path: Path, layers: int, slots: int) -> None:
    """Raises ModelError where the router is for another model, or chooses a program that cannot run here."""
    if router.layers != layers:
        raise ModelError(
            f"The router {path} is for a model of {router.layers} layers; this one has {layers}. Make one for it with"
            " `reasonprune train router`."
        )
    for program in router.programs:
        if problem := program.problem(layers, slots):
            raise ModelError(f"The program {program} of the router {path} cannot run here: {problem}.")
