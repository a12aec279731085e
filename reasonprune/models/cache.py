"""The cache of fetched models: one folder a model, complete once its marker file is there and agrees with it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

FORMAT = 1
"""Version of what the conversion writes; a folder with another one is made anew."""

MARKER = "reasonprune-model.json"


def cache_folder() -> Path:
    """`$REASONPRUNE_CACHE`, or else `reasonprune` in the user's cache folder; it need not exist yet."""
    if own := os.environ.get("REASONPRUNE_CACHE"):
        return Path(own).expanduser().absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "reasonprune"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "reasonprune"


def model_folder(name: str) -> Path:
    """Where the catalogue model `name` is when it is complete."""
    return cache_folder() / "models" / name


def work_folder(name: str) -> Path:
    """Where the catalogue model `name` is put together; there only while it is being fetched, or was interrupted."""
    return cache_folder() / "models" / f"{name}.partial"


def seal(folder: Path, sha256: str) -> None:
    """Write the marker into a folder whose other files are complete. `sha256`: of the file it was made from."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MARKER]
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    marker = {"format": FORMAT, "sha256": sha256, "files": files}
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def defect(folder: Path, sha256: str) -> str | None:
    """What is wrong with a cached model, in words; None when it is intact.

    It compares file sizes, not contents, so that it is cheap enough for every start.
    """
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        form, source, files = marker["format"], marker["sha256"], dict(marker["files"])
    except FileNotFoundError:
        return "it is not complete"
    except (OSError, ValueError, KeyError, TypeError):
        return f"its {MARKER} cannot be read"
    if form != FORMAT or source != sha256:
        return "another version of reasonprune made it"
    for name, size in files.items():
        path = folder / name
        if not path.is_file():
            return f"its {name} is missing"
        if path.stat().st_size != size:
            return f"its {name} has {path.stat().st_size:,} bytes instead of {size:,}"
    return None


def size_on_disk(folder: Path) -> int:
    """Bytes of all files below `folder`; 0 when it does not exist."""
    return sum(_size(os.path.join(parent, name)) for parent, _, names in os.walk(folder) for name in names)


def _size(path: str) -> int:
    # Another process may be moving files here while we look.
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
