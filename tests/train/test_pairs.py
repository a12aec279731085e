from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasonprune.engine.pool import RecordedQuestion, RecordedTrace
from reasonprune.errors import PoolError
from reasonprune.train.pairs import Question, choose_pairs, cut_pairs, read_questions, split_of


def question(text: str = "?", lengths: tuple[int, ...] = (100, 80, 60, 40), answers: str = "4455") -> Question:
    traces = tuple(
        RecordedTrace(tokens, answer, text="ab" * tokens) for tokens, answer in zip(lengths, answers, strict=True)
    )
    return Question("pool", RecordedQuestion(text, "4", traces), tuple(range(len(traces))))


def write(path: Path, rows: list[list[tuple[str | None, str | None]]]) -> Path:
    """A pool of these (answer, text), a question a row."""
    lines = []
    for i, traces in enumerate(rows):
        recorded: list[dict[str, Any]] = [
            {"token_ids": [0] * 10, "answer": answer, "text": text} for answer, text in traces
        ]
        lines.append(json.dumps({"question": f"What is {i}?", "traces": recorded}))
    path.write_text("\n".join(lines))
    return path


def test_traces_without_an_answer_or_a_text_are_left_out(tmp_path: Path) -> None:
    rows = [[("4", "a"), (None, "b"), ("5", None), ("6", "d")], [("4", "a"), (None, "b")]]
    (found,) = read_questions(write(tmp_path / "pool.jsonl", rows))
    assert found.traces == (0, 3)
    assert found.pool == "pool.jsonl"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[("4", None), ("5", None)]], "holds no texts.*reasonprune record"),
        ([[(None, "a"), (None, "b")], [("4", "a")]], "no question has two traces with an answer.*higher --max-tokens"),
        ([[("4", "a"), ("4.0", "b")], [("5", "a"), ("5", "b")]], "nothing to tell apart.*higher --temperature"),
    ],
)
def test_a_pool_that_cannot_be_used(rows: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=rf"pool\.jsonl.*{message}"):
        read_questions(write(tmp_path / "pool.jsonl", rows))


def test_a_question_is_in_one_split_whatever_pool_it_is_in() -> None:
    texts = [f"What is {i}?" for i in range(2000)]
    splits = [split_of(question(text), seed=1) for text in texts]
    other_pool = [split_of(question(text, (7, 9), "12"), seed=1) for text in texts]
    assert splits == other_pool
    assert splits != [split_of(question(text), seed=2) for text in texts]
    counts = [splits.count(split) for split in ("train", "validation", "test")]
    assert counts == pytest.approx([1200, 400, 400], abs=60)


def test_pairs_are_of_as_few_traces_as_give_so_many() -> None:
    many = question(lengths=(10,) * 16, answers="4" * 16)
    assert len(choose_pairs(many, 120, seed=0)) == 120
    forty = choose_pairs(many, 40, seed=0)
    assert len(forty) == len(set(forty)) == 40
    assert len({trace for pair in forty for trace in pair}) == 10
    assert all(a < b for a, b in forty)
    assert forty == choose_pairs(many, 40, seed=0) != choose_pairs(many, 40, seed=1)
    assert choose_pairs(question(), 40, seed=0) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_pairs_are_taken_of_usable_traces_only() -> None:
    some = Question("pool", question().recorded, (1, 3))
    assert choose_pairs(some, 40, seed=0) == [(1, 3)]


@pytest.mark.parametrize(
    ("cut", "lengths"),
    [("share", [(50, 40), (50, 20)]), ("level", [(40, 40), (20, 20)]), ("ended", [(100, 40), (50, 40)])],
)
def test_how_pairs_are_cut(cut: Any, lengths: list[tuple[int, int]]) -> None:
    pairs = cut_pairs(question(), [(0, 1), (0, 3)], 0.5, cut)
    assert [(pair.first.tokens, pair.second.tokens) for pair in pairs] == lengths
    assert [pair.same for pair in pairs] == [True, False]
    for pair in pairs:
        for snapshot, whole in ((pair.first, 100), (pair.second, 80)):
            assert len(snapshot.text) == 2 * snapshot.tokens
            if snapshot.tokens < min(whole, 40):
                assert not snapshot.ended
    ended = [(pair.first.ended, pair.second.ended) for pair in pairs]
    assert ended == ([(True, False), (False, True)] if cut == "ended" else [(False, False)] * 2)
    # An unfinished trace carries no answer that a judge could look at.
    assert all((s.answer is not None) == s.ended for pair in pairs for s in (pair.first, pair.second))
