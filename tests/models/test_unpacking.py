"""Unpacking a zipped model folder."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from reasonprune.errors import ModelError
from reasonprune.models.progress import Display
from reasonprune.models.unpacking import Unpacking

WEIGHTS = b"weights, " * 1000
FILES = {"config.json": b"{}", "modules.json": b"[]", "model.safetensors": WEIGHTS, "1_Pooling/config.json": b"{}"}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "inner" / "target"
    folder.mkdir(parents=True)
    return folder


def unpack(target: Path, files: dict[str, bytes]) -> None:
    source = target.parent / "model.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    Unpacking(hashlib.sha256(WEIGHTS).hexdigest())(source, target, Display())


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_zip_becomes_the_folder(target: Path) -> None:
    unpack(target, {"1_Pooling/": b"", **FILES})

    assert content(target) == FILES


def test_content_of_a_single_top_folder_becomes_the_folder(target: Path) -> None:
    unpack(target, {"encoder/": b"", **{f"encoder/{name}": data for name, data in FILES.items()}})

    assert content(target) == FILES


def test_a_file_beside_the_folder_keeps_the_folder(target: Path) -> None:
    with pytest.raises(ModelError, match=r"lacks config.json and modules.json and model.safetensors"):
        unpack(target, {"README.md": b"", **{f"encoder/{name}": data for name, data in FILES.items()}})


@pytest.mark.parametrize(
    "name", ["/outside", "../outside", "a/../../outside", "..\\outside", "C:\\outside", "C:outside"]
)
def test_file_outside_the_folder_is_refused_before_anything_is_written(target: Path, name: str) -> None:
    with pytest.raises(ModelError, match="outside its folder"):
        unpack(target, {**FILES, name: b"data"})

    assert content(target) == {}
    assert not (target.parent / "outside").exists()


@pytest.mark.parametrize("name", ["config.json", "modules.json", "model.safetensors"])
def test_missing_file_is_named(target: Path, name: str) -> None:
    with pytest.raises(ModelError, match=rf"model.zip lacks {name}\."):
        unpack(target, {other: data for other, data in FILES.items() if other != name})


def test_other_weights_are_refused(target: Path) -> None:
    with pytest.raises(ModelError, match=r"model.safetensors in model.zip has SHA-256"):
        unpack(target, {**FILES, "model.safetensors": WEIGHTS[:-1]})


def test_file_that_is_no_zip(target: Path) -> None:
    source = target.parent / "model.zip"
    source.write_bytes(b"no zip")

    with pytest.raises(ModelError, match="cannot be unpacked"):
        Unpacking("")(source, target, Display())


def test_import_is_light() -> None:
    code = (
        "import sys, reasonprune.models.unpacking; print({'torch', 'transformers', 'safetensors'} & set(sys.modules))"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown.strip() == "set()"
