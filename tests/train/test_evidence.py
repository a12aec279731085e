from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasonprune.errors import DataError
from reasonprune.train.evidence import Evidence, by_group, held_out, read_evidence, untokenized

CONTEXT = "Bees make honey. Wasps do not. Ants live in hills."


def written(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_squad(tmp_path: Path) -> None:
    qa = {"question": "What do bees make?", "answers": [{"text": "honey", "answer_start": 10}], "id": "1"}
    none = {"question": "Who are you?", "answers": [], "id": "2"}
    article = {"title": "Bees", "paragraphs": [{"context": CONTEXT, "qas": [qa, none]}]}
    first, second = read_evidence(written(tmp_path / "a.json", {"data": [article]}))
    assert first == Evidence(
        "What do bees make?",
        ("Bees make honey. ", "Wasps do not. ", "Ants live in hills."),
        (True, False, False),
        "Bees",
    )
    assert first.context == CONTEXT
    assert not any(second.labels)


def test_selqa_keeps_the_sentences_around_the_answer(tmp_path: Path) -> None:
    row = {"question": "Q?", "article": "A", "candidates": [f"S{i}." for i in range(40)], "answers": [20, 21]}
    [found] = read_evidence(written(tmp_path / "selqa.json", [row]))
    assert [s.strip() for s, label in zip(found.sentences, found.labels, strict=True) if label] == ["S20.", "S21."]
    assert len(found.sentences) == 6


def test_parallel_files(tmp_path: Path) -> None:
    lines = [f"sentence {i} -lrb- x -rrb- ." for i in range(20)]
    written(tmp_path / "tgt-x.txt", "\n".join(f"question {i} ?" for i in range(20)))
    found = read_evidence(written(tmp_path / "src-x.txt", "\n".join(lines)))
    assert len(found) == 20
    for i, example in enumerate(found):
        [answer] = [s for s, label in zip(example.sentences, example.labels, strict=True) if label]
        assert answer == f"sentence {i} (x). "
        assert example.question == f"question {i}?"


def test_own_rows(tmp_path: Path) -> None:
    rows = [
        {"question": "Q?", "context": CONTEXT, "spans": [[0, 4], [31, 35]], "group": "g"},
        {"question": "Q?", "sentences": ["A. ", "B."], "labels": [0, 1]},
    ]
    path = written(tmp_path / "x.jsonl", "\n".join(map(json.dumps, rows)))
    first, second = read_evidence(path)
    assert (first.labels, first.group) == ((True, False, True), "g")
    assert (second.sentences, second.labels) == (("A. ", "B."), (False, True))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "is not evidence"),
        ("a.json", '{"data": [{}]}', "is not evidence"),
        ("a.txt", "x", "src-"),
        ("src-a.txt", "x", "cannot be read"),
        ("a.jsonl", '{"question": "Q?"}', "line 1: KeyError"),
        ("a.jsonl", '{"question": "Q?", "context": "C.", "spans": [[0, 9]]}', "line 1: ValueError: a span"),
        ("a.jsonl", '{"question": "Q?", "sentences": ["C."], "labels": []}', "as many labels"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_evidence(written(tmp_path / name, text))


def test_a_missing_file() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_evidence(Path("nowhere.json"))


def test_groups_are_set_aside_whole() -> None:
    examples = [Evidence(f"q{i}", ("s",), (True,), f"g{i % 5}") for i in range(20)]
    assert {group: len(found) for group, found in by_group(examples).items()} == dict.fromkeys(
        ["g0", "g1", "g2", "g3", "g4"], 4
    )
    aside = held_out([example.group for example in examples], 0.4, seed=1)
    assert len(aside) == 2
    assert aside == held_out([example.group for example in reversed(examples)], 0.4, seed=1)


def test_treebank_tokens_are_undone() -> None:
    text = "it 's the `` book '' -lrb- 1990 -rrb- , is n't it ?"
    assert untokenized(text) == "it's the \" book \" (1990), isn't it?"
