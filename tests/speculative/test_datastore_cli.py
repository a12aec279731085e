"""`reasonprune datastore` as a user starts it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reasonprune.cli import app
from reasonprune.errors import DatastoreError
from reasonprune.speculative.datastore import Datastore

if find_spec("transformers") is None:
    pytest.skip("transformers is not installed; run `make setup`", allow_module_level=True)

TEXT = "Start with 37, add 53, multiply by 7. First, 37 plus 53 is 90.\n"


def run(*arguments: str) -> str:
    """Output; errors of ours are raised, as `main` takes them."""
    result = CliRunner().invoke(app, ["datastore", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT * 3)
    return path


def test_build_add_and_stats(tmp_path: Path, text: Path) -> None:
    store = str(tmp_path / "store")
    outputs = tmp_path / "outputs.jsonl"
    rows = [{"question": "q?", "traces": [{"text": TEXT}, {"text": "Second."}]}, {"token_ids": [1, 2, 3]}]
    outputs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("build", store, "--model", "tiny", "--data", str(text))
    before = Datastore(Path(store)).tokens
    assert "tokens added" in run("add", store, "--data", str(outputs))
    run("stats", store, "--json", str(tmp_path / "stats.json"), "--lookups", "50")
    found = json.loads((tmp_path / "stats.json").read_text())
    assert found["tokens"] > before > 0
    assert found["documents"] == 5
    assert found["model"] == "tiny"
    assert found["bytes"] > 0
    assert found["lookup"]["p99_ms"] >= found["lookup"]["p50_ms"] > 0


def test_only_the_named_fields_are_taken(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"text": "a long text that is not wanted", "note": "ab"}\n')
    run("build", str(tmp_path / "s"), "--model", "tiny", "--data", str(data), "--field", "note")
    assert Datastore(tmp_path / "s").tokens <= 2


@pytest.mark.parametrize(
    ("content", "message"),
    [("{]\n", "line 1: not JSON"), ('{"text": "x"}\n{"id": 1}\n', "line 2: no text"), ("\n", "no documents")],
)
def test_unusable_files_leave_nothing_behind(tmp_path: Path, content: str, message: str) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text(content)
    with pytest.raises(DatastoreError, match=message):
        run("build", str(tmp_path / "s"), "--model", "tiny", "--data", str(data))
    assert not (tmp_path / "s").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatastoreError, match=r"nowhere\.txt is not a file"):
        run("build", str(tmp_path / "s"), "--model", "tiny", "--data", str(tmp_path / "nowhere.txt"))


def test_another_models_datastore_is_refused(tmp_path: Path, text: Path) -> None:
    Datastore.create(tmp_path / "s", "another", "another print", 100)
    with pytest.raises(DatastoreError, match="tokenizer of 'another'"):
        run("add", str(tmp_path / "s"), "--model", "tiny", "--data", str(text))
