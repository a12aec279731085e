from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from reasonprune.answers import extract_answer
from reasonprune.errors import PoolError
from reasonprune.train.arithmetic import sample_problem

pytest.importorskip("torch", reason="torch is not installed; pip install 'reasonprune[train]'")

from reasonprune.train.cot import CotTrainConfig, examples_in, train_cot
from reasonprune.train.sft import batches, schedule
from reasonprune.train.verbose import verbose_solution

TEXT = "<think>\n2+3=5.\n\n5*2=10.\n</think>\n\nThe answer is \\boxed{10}."


def row(**more: Any) -> dict[str, Any]:
    report = {"settings": {}, "chains": [{"kept": 0.5}]}
    return {
        "question": "Start with 2, add 3, multiply by 2.",
        "gold": "10",
        "text": TEXT,
        "reasonprune": report,
        **more,
    }


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_chains_that_miss_their_answer_are_left_out(tmp_path: Path) -> None:
    changed = {"chains": [{"not_applied": [{"technique": "compression", "reason": "..."}]}]}
    examples, dropped = examples_in(write(tmp_path / "data", row(), row(gold="11"), row(reasonprune=changed)))
    assert [example.reply for example in examples] == [TEXT]
    assert examples[0].messages == [{"role": "user", "content": "Start with 2, add 3, multiply by 2."}]
    assert dropped == {"wrong answer": 1, "answer changed": 1}


def test_reasoning_fields_become_marked_replies(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "reasoning": "2+3=5.", "content": "5"}]
    examples, _ = examples_in(write(tmp_path / "data", {"messages": turns, "reasonprune": row()["reasonprune"]}))
    assert examples[0].reply == "<think>\n2+3=5.\n</think>\n\n5"


@pytest.mark.parametrize(
    ("rows", "message"),
    [([{"question": "q", "text": TEXT}], "compress the data first"), ([row(gold="11")], "no chain to train on")],
)
def test_data_that_cannot_be_used(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(PoolError, match=message):
        examples_in(write(tmp_path / "data", *rows))
    with pytest.raises(PoolError, match="cannot be read"):
        examples_in(tmp_path / "missing")


def test_batches_hold_every_row_and_keep_their_size() -> None:
    rows = [([0] * (i % 7 + 1), [1] * (i % 5 + 1)) for i in range(40)]
    groups = batches(rows, 60, 0)
    seen: list[Any] = []
    while len(seen) < 40:
        group = next(groups)
        assert len(group) * max(len(p) + len(r) for p, r in group) <= 60
        seen += group
    assert sorted(seen) == sorted(rows)


def test_the_learning_rate_warms_up_and_falls() -> None:
    shares = [schedule(step, 4, 20) for step in range(20)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares[4:] == sorted(shares[4:], reverse=True)
    assert 0.1 <= shares[-1] < 0.2


def test_verbose_solutions_are_right_and_long() -> None:
    rng = random.Random(0)
    for _ in range(20):
        problem = sample_problem(rng, 4)
        text = verbose_solution(rng, problem)
        assert extract_answer(text) == str(problem.answer)
        assert len(text.split("\n\n")) > len(problem.operations) + 2


def test_an_adapter_is_trained_and_saved(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="peft is not installed; pip install 'reasonprune[train]'")
    data = write(tmp_path / "data", *[row()] * 8)
    saved = train_cot(data, tmp_path / "adapter", CotTrainConfig("tiny", rank=4, steps=6, learning_rate=5e-3))
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["r"] == 4
    assert saved["examples"] == 8
    assert saved["final_loss"] < 1
