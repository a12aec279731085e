"""Trained self-evaluators on disk: a folder that says for which model it was trained, and is refused for any other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from reasonprune.errors import ModelError
from reasonprune.models import cache_folder

Trained = Literal["adapter", "head"]
FORMAT = 1
DESCRIPTION = "self-eval.json"
SHIPPED = Path(__file__).parent / "shipped"
MOST_SAID = 300  # characters of what is wrong with a folder
SAMPLE = 1 << 20  # bytes read of each end of a file of weights
WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")


def fingerprint(model: str) -> str:
    """Tells models apart by their configuration and weights, of which the two ends of each file are read.

    `model`: a folder, a file, or a hub id that is in the hub's cache. Raises ModelError.
    """
    path = _local(model)
    files = [path] if path.is_file() else sorted(file for pattern in WEIGHTS for file in path.glob(pattern))
    if not files:
        raise ModelError(f"{model} holds no weights ({', '.join(WEIGHTS)}), so it cannot be told from other models.")
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.suffix} {size}\n".encode())
        with file.open("rb") as weights:
            digest.update(weights.read(SAMPLE))
            if size > SAMPLE:
                weights.seek(max(SAMPLE, size - SAMPLE))
                digest.update(weights.read(SAMPLE))
    return digest.hexdigest()[:32]


def _local(model: str) -> Path:
    path = Path(model)
    if path.exists():
        return path
    from huggingface_hub import snapshot_download  # comes with transformers
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise ModelError(f"The files of the model {model} are not on this machine ({type(error).__name__}).") from None


def default_folder(mark: str, kind: Trained) -> Path:
    """Where `reasonprune train self-eval` puts what it trains for the model with this fingerprint."""
    return cache_folder() / "self-eval" / mark / kind


def find(model: str, kind: Trained, folder: Path | None = None) -> Path:
    """The folder to use for `model`: the one that is named, else the user's own for it, else a shipped one.

    Raises:
        ModelError: it was trained for another model or is of another kind, or there is none.
    """
    mark = fingerprint(model)
    if folder is not None:
        _check(folder, describe(folder), kind, mark, model)
        return folder
    for candidate in _candidates(mark, kind):
        if (candidate / DESCRIPTION).is_file():
            description = describe(candidate)
            if (description["kind"], description["fingerprint"]) == (kind, mark):
                return candidate
    raise ModelError(
        f"No {kind} for self-evaluation has been trained for the model {model} (fingerprint {mark}). Record a pool "
        f"with `reasonprune record`, then `reasonprune train self-eval --pool FILE --kind {kind}`."
    )


def _candidates(mark: str, kind: Trained) -> Iterator[Path]:
    yield default_folder(mark, kind)
    if SHIPPED.is_dir():
        yield from sorted(SHIPPED.glob(f"*/{kind}"))


def _check(folder: Path, description: dict[str, Any], kind: Trained, mark: str, model: str) -> None:
    if description["kind"] != kind:
        raise ModelError(f"{folder} holds a self-evaluation of the kind {description['kind']}; {kind} is asked for.")
    if description["fingerprint"] != mark:
        raise ModelError(
            f"The self-evaluation {kind} in {folder} was trained for the model {description['model']} (fingerprint "
            f"{description['fingerprint']}), and this is {model} (fingerprint {mark}). Train one for this model with "
            f"`reasonprune train self-eval --pool FILE --kind {kind}`."
        )


def describe(folder: Path) -> dict[str, Any]:
    """What self-eval.json says: format, kind, model, fingerprint, spec and training. Raises ModelError."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']}, expected {FORMAT}")
        missing = {"kind", "model", "fingerprint", "spec", "training"} - description.keys()
        if missing:
            raise ValueError(f"without {', '.join(sorted(missing))}")
        if description["kind"] == "adapter" and not description["spec"].get("activated"):
            raise ValueError("an adapter that was trained on whole prompts; it is to act on the evaluation turn alone")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise unusable(folder, error) from None
    return dict(description)


def save_description(
    folder: Path, kind: Trained, model: str, mark: str, spec: dict[str, Any], training: dict[str, Any]
) -> None:
    """Writes self-eval.json, which makes the folder usable; the last thing that is written into it."""
    content = {"format": FORMAT, "kind": kind, "model": model, "fingerprint": mark, "spec": spec, "training": training}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def unusable(folder: Path, error: Exception) -> ModelError:
    # On one line: torch names the weights that are too many or missing on lines of their own.
    why = " ".join(str(error).split()).rstrip(".")
    return ModelError(
        f"The folder {folder} holds no usable self-evaluation ({type(error).__name__}: {why[:MOST_SAID]}). "
        "Train one with `reasonprune train self-eval`."
    )
