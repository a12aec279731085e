from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasonprune.errors import PoolError
from reasonprune.train.samples import SHARES, read_samples, split, split_of


def row(question: str, answers: list[str], model: str = "tiny", **more: Any) -> dict[str, Any]:
    traces = [
        {
            "token_ids": list(range(10)),
            "logprobs": [-0.1] * 10,
            "text": f"\\boxed{{{a}}}",
            "answer": a,
            "finish_reason": "stop",
        }
        for a in answers
    ]
    return {"question": question, "gold": "1", "prompt_token_ids": [1, 2], "model": model, "traces": traces, **more}


def pool(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "pool.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return file


def test_traces_are_right_by_equivalence_and_targets_are_win_or_tie(tmp_path: Path) -> None:
    model, (question,) = read_samples(pool(tmp_path, [row("q", ["1", "1.0", "2", "3"])]))
    assert model == "tiny"
    assert [sample.right for sample in question.samples] == [True, True, False, False]
    assert [question.unbeaten(sample) for sample in question.samples] == pytest.approx([1, 1, 1 / 3, 1 / 3])


def test_of_a_question_that_is_never_solved_nothing_can_be_beaten(tmp_path: Path) -> None:
    _, (question,) = read_samples(pool(tmp_path, [row("q", ["2", "3"])]))
    assert [question.unbeaten(sample) for sample in question.samples] == [1, 1]
    _, (alone,) = read_samples(pool(tmp_path, [row("q", ["2"])]))
    assert alone.unbeaten(alone.samples[0]) == 1


def test_the_last_token_is_never_read(tmp_path: Path) -> None:
    _, (question,) = read_samples(pool(tmp_path, [row("q", ["1"])]))
    assert [question.samples[0].cut(share) for share in SHARES] == [2, 5, 8, 9]


def test_questions_are_split_by_their_text(tmp_path: Path) -> None:
    file = pool(tmp_path, [row(f"q{i}", ["1", "2"]) for i in range(100)])
    _, questions = read_samples(file)
    parts = split(questions, 0, file)
    sizes = {part: len(members) for part, members in parts.items()}
    assert 45 < sizes["train"] < 75
    assert 18 < sizes["test"] < 42
    assert all(split_of(question, 0) == part for part, members in parts.items() for question in members)
    assert [split_of(q, 0) for q in questions] != [split_of(q, 1) for q in questions]


def test_a_smaller_share_for_testing_takes_no_question_out_of_training(tmp_path: Path) -> None:
    file = pool(tmp_path, [row(f"q{i}", ["1", "2"]) for i in range(100)])
    _, questions = read_samples(file)
    usual, small = split(questions, 0, file), split(questions, 0, file, test=0.1)
    assert {q.question for q in usual["train"]} < {q.question for q in small["train"]}
    assert len(small["test"]) < len(usual["test"]) / 2


def test_too_few_questions_are_refused(tmp_path: Path) -> None:
    file = pool(tmp_path, [row(f"q{i}", ["1", "1"]) for i in range(30)])
    with pytest.raises(PoolError, match="are too few"):
        split(read_samples(file)[1], 0, file)


def test_a_pool_without_tokens_or_of_two_models_is_refused(tmp_path: Path) -> None:
    bare = row("q", ["1"])
    del bare["prompt_token_ids"]
    with pytest.raises(PoolError, match="holds no token ids"):
        read_samples(pool(tmp_path, [bare]))
    with pytest.raises(PoolError, match="of several models"):
        read_samples(pool(tmp_path, [row("a", ["1"]), row("b", ["1"], model="demo")]))
