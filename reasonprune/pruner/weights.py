"""Our own files of a pruner: `pruner.json` (how to use it) and `pruner.safetensors` (only what was trained, in fp16).

The encoder underneath is named, not copied: a short name of the catalogue, a folder, or a Hugging Face id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from reasonprune.errors import ModelError
from reasonprune.models import resolve_encoder
from reasonprune.pruner.late import LateNet
from reasonprune.pruner.reading import Ranking
from reasonprune.pruner.rounding import Calibration

CONFIG, WEIGHTS = "pruner.json", "pruner.safetensors"


class Recipe(BaseModel):
    """How trained weights are used: on which encoder, in windows of how many tokens, at which threshold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["reasonprune-pruner-1"] = "reasonprune-pruner-1"
    base: str
    join: int = Field(ge=1)
    width: int = Field(192, ge=32, multiple_of=32)
    depth: int = Field(2, ge=0)
    max_length: int = Field(ge=16)
    threshold: float = Field(0.1, ge=0, le=1)
    scale: float = Field(1.0, gt=0)
    shift: float = 0.0
    contrast: float = Field(0.0, ge=0)
    lexical: float = Field(0.0, ge=0)
    between: float = Field(0.0, ge=0)
    lead: float = Field(0.0, ge=0)
    head: float = Field(1.0, ge=0)
    likeness: float = Field(0.0, ge=0)

    @property
    def calibration(self) -> Calibration:
        return Calibration(self.scale, self.shift, self.contrast, self.lexical, self.between, self.lead)

    @property
    def ranking(self) -> Ranking:
        return Ranking(self.head, self.likeness)


def open_encoder(base: str) -> tuple[Any, nn.Module]:
    """Tokenizer and encoder in float32, ready for inference."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    path = resolve_encoder(base)
    shown = logging.get_verbosity()
    logging.set_verbosity_error()  # a pooler that is not in the file is not used either
    try:
        return AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path, dtype=torch.float32).eval()
    finally:
        logging.set_verbosity(shown)


def save(folder: Path, trained: Mapping[str, torch.Tensor], recipe: Recipe) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in trained.items()}
    save_file(tensors, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors writes for its owner only
    (folder / CONFIG).write_text(json.dumps(recipe.model_dump(), indent=2) + "\n", encoding="utf-8")


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """What was trained, by name. Raises ModelError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / WEIGHTS} cannot be read: {error}") from None


def load(folder: Path) -> tuple[Any, LateNet, Recipe]:
    """Tokenizer, network in float32, and recipe. Raises ModelError where files are missing or do not fit."""
    try:
        recipe = Recipe.model_validate_json((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise ModelError(f"{folder / CONFIG} cannot be used: {error}") from None
    tokenizer, encoder = open_encoder(recipe.base)
    network, saved = LateNet(encoder, recipe.join, recipe.width, recipe.depth), read_tensors(folder)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.trained.items()}
    given = {name: tuple(tensor.shape) for name, tensor in saved.items()}
    if wanted != given:
        wrong = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
        raise ModelError(f"{folder / WEIGHTS} does not fit the encoder {recipe.base}: {', '.join(wrong[:5])}.")
    with torch.no_grad():
        for name, tensor in network.trained.items():
            tensor.copy_(saved[name])
    return tokenizer, network.requires_grad_(False).eval(), recipe
