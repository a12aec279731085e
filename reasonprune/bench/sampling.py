"""How a model is sampled where the command line does not say: as its own generation config does, as vLLM's server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reasonprune.models import resolve

FALLBACK = {"temperature": 0.8, "top_p": 0.95}  # where the model says nothing: the usual for parallel samples


def sampling_of(model: str | None, temperature: float | None, top_p: float | None) -> tuple[float, float]:
    """(temperature, top-p): what is given, else the model's own, else 0.8 and 0.95.

    `model` None: it is on another machine, and so is what it says.
    """
    own = _own(model) if model is not None else {}

    def chosen(given: float | None, key: str) -> float:
        return float(given if given is not None else own.get(key) or FALLBACK[key])

    return chosen(temperature, "temperature"), chosen(top_p, "top_p")


def _own(model: str) -> dict[str, Any]:
    file = Path(resolve(model).path) / "generation_config.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
