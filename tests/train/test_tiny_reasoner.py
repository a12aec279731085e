from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from reasonprune.models import resolve
from reasonprune.train import tiny_reasoner
from reasonprune.train.tiny_reasoner import IGNORED, Phase, TrainConfig, build_tokenizer, learning_rate_at, train

SHORT = Phase(steps=2, learning_rate=1e-3, slip_rate=0.02, hesitant=True, warmup_steps=1)


def test_any_text_survives_the_tokenizer() -> None:
    tokenizer = build_tokenizer(0)
    for text in ("Start with 12, add 3.", "<think>\n1+1=2.\n</think>", "ünïcode ✓ \t\n", ""):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("12345")) == 5


def test_the_learning_rate_rises_then_falls() -> None:
    phase = Phase(steps=1000, learning_rate=1.0, slip_rate=0, hesitant=False, warmup_steps=100)
    rates = [learning_rate_at(step, phase) for step in range(1000)]
    assert rates.index(max(rates)) in (99, 100)
    assert rates[-1] == pytest.approx(0.05, abs=0.01)


def test_prompts_and_padding_are_not_trained_on() -> None:
    ids, labels = tiny_reasoner._padded([([1, 2], [3]), ([4], [5, 6, 7])], pad=0)
    assert ids.tolist() == [[1, 2, 3, 0], [4, 5, 6, 7]]
    assert labels.tolist() == [[IGNORED, IGNORED, 3, IGNORED], [IGNORED, 5, 6, 7]]


def test_a_phase_can_be_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, **options: model)
    monkeypatch.setattr(tiny_reasoner, "CHUNK", 64)
    train(tmp_path / "one", TrainConfig(phases=(SHORT,), batch_tokens=512, threads=1))
    train(tmp_path / "two", TrainConfig(phases=(SHORT, SHORT), batch_tokens=512, threads=1), tmp_path / "one")
    provenance = json.loads((tmp_path / "two" / "training.json").read_text())
    assert [phase["steps"] for phase in provenance["phases"]] == [2, 2]
    problems = [json.loads(line) for line in (tmp_path / "two" / "test.jsonl").read_text().splitlines()]
    assert len(problems) == 1000
    assert {problem["level"] for problem in problems} == {3, 4, 5, 6}
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "two")


def test_the_shipped_model_is_small_and_says_how_it_was_made() -> None:
    folder = Path(resolve("tiny").path)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 6_000_000
    provenance = json.loads((folder / "training.json").read_text())
    assert len(provenance["phases"]) == len(provenance["config"]["phases"]) == 2
