from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reasonprune.bench.context import Case, cases, measured, threshold_for
from reasonprune.cli import app
from reasonprune.errors import DataError

RUN = CliRunner()
TOPICS = ("bees", "towers", "rivers")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = []
    for topic in TOPICS:
        sentences = [f"Many {topic} are old. ", f"The {topic} stand in Rome."]
        rows.append({"question": f"Where do {topic} stand?", "sentences": sentences, "labels": [0, 1]})
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_distractors_are_other_contexts(data: Path) -> None:
    found = cases(data, 2, None, seed=0)
    assert [len(set(case.documents)) for case in found] == [3, 3, 3]
    assert all(case.documents[0][1].split()[1] in case.question for case in found)
    assert found == cases(data, 2, None, seed=0)
    assert len(cases(data, 0, 1, seed=0)) == 1
    with pytest.raises(DataError, match="too many"):
        cases(data, 3, None, seed=0)


def test_recall_and_compression() -> None:
    case = Case("q", (("aaaa", "bbbb"), ("cc",)), (1,))
    assert measured([case], [[0.0, 0.9, 0.2]], 0.5) == {"recall": 1.0, "compression": pytest.approx(0.6)}
    assert measured([case], [[0.0, 0.4, 0.9]], 0.5) == {"recall": 0.0, "compression": pytest.approx(0.8)}
    at = threshold_for([case], [[0.0, 0.9, 0.2]], 0.55)
    assert measured([case], [[0.0, 0.9, 0.2]], at)["compression"] >= 0.55


def test_the_command_writes_the_pruner_and_its_rivals(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "out.json"
    done = RUN.invoke(app, ["bench", "context", "--data", str(data), "--distractors", "1", "--json", str(out)])
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    for row in (result, result["bm25"], result["minilm"], result["none"]):
        assert 0 <= row["recall"] <= 1
        assert 0 <= row["compression"] <= 1
        assert row["seconds"] >= 0
    assert (result["none"]["recall"], result["none"]["compression"]) == (1.0, 0.0)
    assert result["provenance"]["data"]["file"] == "data.jsonl"


def test_prune_prints_what_is_left(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "a.txt"
    file.write_text("The tower stands in Paris. The tower is 330 metres tall. Lunch is expensive.\n")
    done = RUN.invoke(app, ["prune", "--question", "How tall is the tower?", str(file)])
    assert done.exit_code == 0, done.output
    assert "330 metres" in done.stdout
    assert "% removed" in done.stderr
    spans = RUN.invoke(app, ["prune", "--question", "How tall?", "--json", str(file)])
    assert json.loads(spans.stdout)["kept_spans"] is not None


def test_a_threshold_out_of_range_and_a_missing_file(data: Path, tmp_path: Path) -> None:
    wrong = ["bench", "context", "--data", str(data), "--threshold", "2", "--json", str(tmp_path / "x.json")]
    assert "from 0" in str(RUN.invoke(app, wrong).exception)
    assert "cannot be read" in str(RUN.invoke(app, ["prune", "--question", "q", "nowhere.txt"]).exception)
