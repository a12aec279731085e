"""The trained part of the encoder judge: a small network over what two traces have in common."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from reasonprune.errors import ModelError
from reasonprune.judges.features import FEATURES, Batch

Inputs = Literal["text", "cosine", "embeddings"]
"""What a head is fed beside the features of the texts: nothing, the embeddings' cosine, or both embeddings too."""

FORMAT = 1
SHIPPED = Path(__file__).parent / "shipped_head"
SPEC, WEIGHTS = "head.json", "head.safetensors"
CLIP = 5.0  # standard deviations; a text unlike all of training must not run away with the score
UNIT = 5.0  # brings the components of unit vectors to about the size of scaled features


@dataclass(frozen=True)
class HeadSpec:
    """The shape of a head. `encoder` is None where `inputs` is "text"; `dimensions` are those of its embeddings."""

    inputs: Inputs
    features: tuple[str, ...] = FEATURES
    encoder: str | None = None
    dimensions: int = 0
    projection: int = 16
    hidden: int = 32
    dropout: float = 0.3

    @property
    def width(self) -> int:
        return len(self.features) + {"text": 0, "cosine": 1, "embeddings": 1 + 2 * self.projection}[self.inputs]


@dataclass
class Head:
    """Scores pairs; (a, b) and (b, a) get the same score, since it sees symmetric features, |u - v| and u * v only.

    `training` is its provenance, saved beside the weights. Scaling and calibration are part of the weights.
    """

    spec: HeadSpec
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spec = self.spec
        self._columns = [FEATURES.index(name) for name in spec.features]
        layers = [nn.Linear(spec.width, spec.hidden), nn.GELU(), nn.Dropout(spec.dropout), nn.Linear(spec.hidden, 1)]
        self.net = nn.ModuleDict({"layers": nn.Sequential(*layers)})
        if spec.inputs == "embeddings":
            self.net["projection"] = nn.Linear(spec.dimensions, spec.projection, bias=False)
        scaled = len(spec.features) + (spec.inputs != "text")
        self.net.register_buffer("mean", torch.zeros(scaled))
        self.net.register_buffer("scale", torch.ones(scaled))
        self.net.register_buffer("calibration", torch.tensor([1.0, 0.0]))  # slope and shift of the logit
        self.net.eval()

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.net.parameters())

    def fit_scaling(self, batch: Batch) -> None:
        """Every feature to mean 0 and deviation 1 over `batch`; one that hardly varies is left small."""
        plain = self._plain(batch)
        self.net.mean.copy_(plain.mean(0))
        self.net.scale.copy_(1 / (plain.std(0) + 0.01))

    def logits(self, batch: Batch) -> torch.Tensor:
        """[n], before calibration; differentiable."""
        parts = [((self._plain(batch) - self.net.mean) * self.net.scale).clamp(-CLIP, CLIP)]
        if self.spec.inputs == "embeddings":
            first, second = (self.net["projection"](UNIT * torch.from_numpy(side)) for side in batch.sides())
            parts += [(first - second).abs(), first * second]
        return self.net["layers"](torch.cat(parts, dim=1))[:, 0]

    def probabilities(self, batch: Batch) -> NDArray[np.float32]:
        """[n], how likely each pair ends in the same answer."""
        if not len(batch):
            return np.zeros(0, dtype=np.float32)
        with torch.inference_mode():
            slope, shift = self.net.calibration
            return torch.sigmoid(slope * self.logits(batch) + shift).numpy()

    def _plain(self, batch: Batch) -> torch.Tensor:
        """The features this head was trained on, and the cosine where it takes one."""
        chosen = batch.features[:, self._columns]
        if self.spec.inputs != "text":
            first, second = batch.sides()
            chosen = np.concatenate([chosen, (first * second).sum(1, keepdims=True)], axis=1)
        return torch.from_numpy(np.ascontiguousarray(chosen, dtype=np.float32))

    def save(self, folder: Path) -> None:
        """As head.safetensors and head.json."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in self.net.state_dict().items()}, folder / WEIGHTS)
        (folder / WEIGHTS).chmod(0o644)  # safetensors writes for its owner only
        description = {"format": FORMAT, "spec": asdict(self.spec), "training": self.training}
        (folder / SPEC).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | None = None) -> Head:
        """The head in `folder`, or the shipped one. Raises ModelError."""
        folder = folder or SHIPPED
        description = describe(folder)
        try:
            spec = HeadSpec(**description["spec"] | {"features": tuple(description["spec"]["features"])})
            if unknown := set(spec.features) - set(FEATURES):
                raise ModelError(
                    f"The judge's head in {folder} was trained on {', '.join(sorted(unknown))}, which this version "
                    "does not compute. Train it again with `reasonprune train judge`."
                )
            head = cls(spec, description["training"])
            head.net.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise _unusable(folder, error) from None
        return head


def describe(folder: Path) -> dict[str, Any]:
    """What head.json says: the format, the spec and the training. Raises ModelError."""
    try:
        description = json.loads((folder / SPEC).read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']}, expected {FORMAT}")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _unusable(folder, error) from None
    return dict(description)


def _unusable(folder: Path, error: Exception) -> ModelError:
    return ModelError(
        f"The folder {folder} holds no usable head of a judge ({type(error).__name__}: {str(error).splitlines()[0]}). "
        f"Train one with `reasonprune train judge --pool FILE --out {folder}`."
    )
