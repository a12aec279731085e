from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reasonprune.bench.graph import read_kb, read_questions
from reasonprune.cli import app
from reasonprune.errors import GraphError

RUN = CliRunner()
KB = "Red Dunes\tdirected_by\tAda Lang\nRed Dunes\tstarred_actors\tBen Ode\nSalt Roads\tdirected_by\tAda Lang\n"
KEYS = {"hits_at_1", "hits_at_3", "answer_recall", "paths_considered", "paths_kept"}
KEYS |= {"llm_calls", "llm_tokens", "seconds"}


@pytest.fixture
def kb(tmp_path: Path) -> Path:
    path = tmp_path / "kb.txt"
    path.write_text(KB)
    return path


def test_formats_of_questions(tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    path.write_text("the wife of a_b 's son ?\tx(x/y/)\ta_b#children#c#spouse#x#<end>#x\n")
    (question,) = read_questions(path, "pathquestion")
    assert (question.topic, question.gold) == ("a_b", {"x", "y"})
    path.write_text("who made [A [b]]\tx|y\nwho made [B]\tz\n")
    first, _ = read_questions(path, "metaqa")
    assert (first.topic, first.gold) == ("A [b]", {"x", "y"})
    assert len(read_questions(path, "metaqa", 1)) == 1
    with pytest.raises(GraphError, match="line 1"):
        read_questions(path, "pathquestion")
    path.write_text("\n")
    with pytest.raises(GraphError, match="no questions"):
        read_questions(path, "metaqa")
    with pytest.raises(GraphError, match="cannot be read"):
        read_questions(tmp_path / "none", "metaqa")


def test_the_command_writes_its_keys(encoder: Any, kb: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "q.txt", tmp_path / "out.json"
    data.write_text(
        "who directed [Red Dunes]\tAda Lang\nwhich movies share the director with [Red Dunes]\tSalt Roads\n"
        "who directed [Nothing Known]\tNobody\n"
    )
    arguments = ["--kb", str(kb), "--data", str(data), "--format", "metaqa", "--llm", "none", "--json", str(out)]
    run = RUN.invoke(app, ["bench", "graph", *arguments])
    assert run.exit_code == 0, run.output
    result = json.loads(out.read_text())
    assert result.keys() >= KEYS
    assert result["hits_at_1"] == pytest.approx(2 / 3, abs=1e-3)
    assert result["llm_calls"] == 0 == result["llm_tokens"]
    assert result["provenance"]["data"]["file"] == "q.txt"


def test_gold_answers_do_not_reach_the_pipeline(encoder: Any, kb: Path, tmp_path: Path) -> None:
    """Wrong gold answers change the score and nothing else."""
    found = []
    for gold in ("Ada Lang", "Ben Ode"):
        data, out = tmp_path / "q.txt", tmp_path / "out.json"
        data.write_text(f"who directed [Red Dunes]\t{gold}\n")
        RUN.invoke(app, ["bench", "graph", "--kb", str(kb), "--data", str(data), "--format=metaqa", f"--json={out}"])
        found.append(json.loads(out.read_text()))
    assert [result["hits_at_1"] for result in found] == [1, 0]
    for key in ("paths_considered", "paths_kept", "sufficient"):
        assert found[0][key] == found[1][key]


def test_load_stats_and_ask(encoder: Any, kb: Path, tmp_path: Path) -> None:
    store, picture = tmp_path / "kb.db", tmp_path / "p.html"
    loaded = RUN.invoke(app, ["kg", "load", str(kb), str(store)])
    assert json.loads(loaded.output)["triples"] == 3
    assert json.loads(RUN.invoke(app, ["kg", "stats", str(store)]).output)["entities"] == 4
    out = tmp_path / "out.json"
    asked = ["kg", "ask", str(store), "who directed [Red Dunes]", "--picture", str(picture), "--json", str(out)]
    run = RUN.invoke(app, asked)
    assert run.exit_code == 0, run.output
    assert run.output.splitlines()[0] == "Ada Lang"
    assert json.loads(out.read_text())["answers"][0]["name"] == "Ada Lang"
    text = picture.read_text()
    assert "<svg" in text
    assert "directed by" in text
    assert "Ada Lang" in text


def test_a_graph_that_is_not_there(tmp_path: Path) -> None:
    run = RUN.invoke(app, ["kg", "stats", str(tmp_path / "none.tsv")])
    assert isinstance(run.exception, GraphError)


@pytest.mark.parametrize(
    ("kb_name", "data", "form", "goal"),
    [
        ("pathquestion/2H-kb.txt", "pathquestion/PQ-2H.txt", "pathquestion", 0.93),
        ("metaqa/train.tsv", "metaqa/2-hop.txt", "metaqa", 0.85),
    ],
)
async def test_real_questions(encoder: Any, data_folder: Path, kb_name: str, data: str, form: Any, goal: float) -> None:
    from reasonprune.bench.graph import GraphConfig, evaluate
    from reasonprune.graph.pipeline import PathsOverGraph

    questions = read_questions(data_folder / data, form)[::40]
    pipeline = PathsOverGraph(read_kb(data_folder / kb_name, form), encoder, in_threads=False)
    result = await evaluate(pipeline, questions, GraphConfig(form))
    assert result["hits_at_1"] >= goal - 0.08, "a sample of some dozens of questions"
