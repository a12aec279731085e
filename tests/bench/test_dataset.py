from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.errors import PoolError


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"question": "1+1?", "gold": "2"}, Question("1+1?", "2")),
        ({"question": "Eggs?", "answer": "16-3=13 eggs.\n#### 13"}, Question("Eggs?", "13")),
        ({"problem": "x?", "solution": "...", "answer": "\\frac{1}{2}"}, Question("x?", "\\frac{1}{2}")),
        ({"instruction": "Choose", "input": "", "answer": "B"}, Question("Choose", "B")),
        ({"problem": "y?", "answer": 27.0}, Question("y?", "27.0")),
    ],
)
def test_the_usual_shapes_are_read(tmp_path: Path, row: dict[str, object], expected: Question) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(json.dumps(row) + "\n\n")
    assert read_dataset(file) == [expected]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no questions"),
        ("{", "line 1: not JSON"),
        ('{"question": "q", "answer": "1"}\n[1]', "line 2: expected an object"),
        ('{"question": "q"}', "gold, answer"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(text)
    with pytest.raises(PoolError, match=words):
        read_dataset(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"nothing\.jsonl cannot be read"):
        read_dataset(tmp_path / "nothing.jsonl")


def test_the_limit_counts_questions(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps({"question": str(i), "gold": "0"}) + "\n" for i in range(5)))
    assert [question.question for question in read_dataset(file, 2)] == ["0", "1"]
