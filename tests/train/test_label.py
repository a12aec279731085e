"""Labelling with a writer whose replies are known; real engines are in tests/engine and tests/serving."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasonprune.engine.upstream import Server
from reasonprune.errors import DataError, ModelError, RequestError
from reasonprune.train.evidence import Evidence, read_evidence, read_questions
from reasonprune.train.label import LabelConfig, discarded, label_with, unlabelled

CONFIG = LabelConfig("some-model", None)


class Scripted:
    """Gives the replies in turn; None stands for a server that fails."""

    def __init__(self, *replies: str | None) -> None:
        self.replies, self.asked = list(replies), 0

    async def write(self, messages: Any, max_tokens: int, temperature: float) -> str:
        self.asked += 1
        if (reply := self.replies.pop(0)) is None:
            raise ModelError("gone")
        return reply


def examples(count: int) -> list[Evidence]:
    return [Evidence(f"Question {i}?", (f"Number {i}. ", "Grass."), (False, False), "g") for i in range(count)]


def quiet(done: int, total: int) -> None:
    """Says nothing."""


async def test_what_is_cited_becomes_evidence_and_the_rest_is_set_aside(tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    writer = Scripted("It is [1].", "No answer.", "It is so.", "It is [7].")
    counts = await label_with(writer, examples(4), out, CONFIG, quiet)
    assert counts == {"cited": 1, "unanswered": 1, "uncited": 1, "invalid": 1}
    first, second = read_evidence(out)
    assert first == Evidence("Question 0?", ("Number 0. ", "Grass."), (True, False), "g")
    assert not any(second.labels)
    dropped = [json.loads(line) for line in discarded(out).read_text().splitlines()]
    assert [row["outcome"] for row in dropped] == ["uncited", "invalid"]
    assert dropped[1]["reply"] == "It is [7]."


async def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    counts = await label_with(Scripted("[1]", None, "Hm."), examples(3), out, CONFIG, quiet)
    assert counts == {"cited": 1, "failed": 1, "uncited": 1}
    with out.open("a") as file:
        file.write('{"question": "half a li')
    again = Scripted("[2]")
    assert await label_with(again, [*examples(3), *examples(1)], out, CONFIG, quiet) == {"cited": 1}
    assert again.asked == 1
    assert unlabelled(examples(3), out, "some-model") == []
    assert len(read_evidence(out)) == 2
    with pytest.raises(DataError, match="labelled by some-model"):
        unlabelled(examples(3), out, "another")
    out.write_text('{"question": "Q?"}\n')
    with pytest.raises(DataError, match="line 1 was not written by this command"):
        unlabelled(examples(3), out, "some-model")


async def test_where_nothing_can_be_asked_the_error_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gone"):
        await label_with(Scripted(None, None), examples(2), tmp_path / "labels.jsonl", CONFIG, quiet)


def test_one_labeller_is_named() -> None:
    for model, upstream in ((None, None), ("a", Server("http://localhost"))):
        with pytest.raises(RequestError, match="--model"):
            LabelConfig(model, upstream)
    with pytest.raises(RequestError, match="concurrency"):
        LabelConfig("a", None, 0)
    assert LabelConfig(None, Server("http://localhost", "m")).labeller == "m"


def test_questions_need_no_labels(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    rows = [{"question": "Q?", "context": "Bees fly. Ants do not."}, {"question": "R?", "sentences": ["A. ", "B."]}]
    data.write_text("\n".join(map(json.dumps, rows)))
    assert [example.sentences for example in read_questions(data)] == [("Bees fly. ", "Ants do not."), ("A. ", "B.")]
    data.write_text('{"question": "Q?"}')
    with pytest.raises(DataError, match="line 1"):
        read_questions(data)
    data.write_text("\n")
    with pytest.raises(DataError, match="no questions with contexts"):
        read_questions(data)
    with pytest.raises(DataError, match="cannot be read"):
        read_questions(tmp_path / "none.jsonl")
