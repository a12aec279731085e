"""Unpacking a sentence encoder: its file is a zip of a sentence-transformers folder, ready to use."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

from reasonprune.errors import ModelError
from reasonprune.models.progress import Display

CHUNK_BYTES = 1 << 20
WEIGHTS = "model.safetensors"
REQUIRED = ("config.json", "modules.json", WEIGHTS)

Member = tuple[zipfile.ZipInfo, PureWindowsPath]


class Unpacking:
    """From a zip to the folder in it, whose weights must have the SHA-256 `weights_sha256`."""

    def __init__(self, weights_sha256: str) -> None:
        self._weights_sha256 = weights_sha256

    def check(self) -> None:
        """Nothing is needed beyond Python."""

    def __call__(self, source: Path, target: Path, display: Display) -> None:
        """Unpack the file `source` to the folder `target`. Raises ModelError when the zip is not what it should be."""
        try:
            with zipfile.ZipFile(source) as archive:
                members = _members(archive)
                with display.bar_of_bytes(sum(info.file_size for info, _ in members)) as bar:
                    bar.update(0, f"unpacking {source.name}")
                    _extract(archive, members, target, bar.update)
        except (zipfile.BadZipFile, zlib.error) as error:
            raise ModelError(f"{source.name} cannot be unpacked ({error}). Please report this.") from error
        self._check_folder(source, target)

    def _check_folder(self, source: Path, folder: Path) -> None:
        if missing := [name for name in REQUIRED if not (folder / name).is_file()]:
            raise ModelError(f"{source.name} lacks {' and '.join(missing)}. Please report this.")
        with (folder / WEIGHTS).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self._weights_sha256:
            raise ModelError(
                f"The {WEIGHTS} in {source.name} has SHA-256 {found} instead of {self._weights_sha256}. "
                "Please report this."
            )


def _members(archive: zipfile.ZipFile) -> list[Member]:
    """The files of the zip, each with its path in the model folder: without the top folder where all share one."""
    members = [(info, _safe_path(info.filename)) for info in archive.infolist() if not info.is_dir()]
    tops = {path.parts[0] for _, path in members}
    if len(tops) == 1 and all(len(path.parts) > 1 for _, path in members):
        return [(info, path.relative_to(path.parts[0])) for info, path in members]
    return members


def _safe_path(name: str) -> PureWindowsPath:
    # A path of Windows, because that takes all of `/`, `\` and drive letters for what they may mean somewhere.
    path = PureWindowsPath(name)
    if path.anchor or ".." in path.parts or not path.parts:
        raise ModelError(f"The zip of the model holds a file that would land outside its folder: {name!r}.")
    return path


def _extract(archive: zipfile.ZipFile, members: list[Member], target: Path, on_bytes: Callable[[int], None]) -> None:
    done = 0
    for info, path in members:
        place = target.joinpath(*path.parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as source, place.open("wb") as copy:
            while chunk := source.read(CHUNK_BYTES):
                copy.write(chunk)
                done += len(chunk)
                on_bytes(done)
