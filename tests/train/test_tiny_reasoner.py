from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from reasonprune.models import resolve
from reasonprune.train import tiny_reasoner
from reasonprune.train.tiny_reasoner import (
    DRAFT,
    IGNORED,
    Phase,
    TrainConfig,
    build_model,
    build_tokenizer,
    groups_of_rows,
    layers_left_out,
    learning_rate_at,
    train,
    train_to_miss_layers,
)

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


def test_layers_are_left_out_of_a_step_and_come_back() -> None:
    model = build_model(build_tokenizer(0))
    every = list(model.model.layers)
    with layers_left_out(model, (0.0, 1.0, 0.0, 0.0, 1.0, 0.0), random.Random(0)):
        assert list(model.model.layers) == [every[0], every[2], every[3], every[5]]
        assert model.config.num_hidden_layers == 4
    assert list(model.model.layers) == every
    assert model.config.num_hidden_layers == 6


def test_problems_to_be_tested_on_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_reasoner, "CHUNK", 64)
    tokenizer, drawn, others = build_tokenizer(0), set[str](), set[str]()
    next(groups_of_rows(tokenizer, SHORT, 512, 0, drawn))
    next(groups_of_rows(tokenizer, SHORT, 512, 0, others, unlike=drawn))
    assert drawn
    assert not drawn & others


def test_the_shipped_model_learns_to_miss_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_reasoner, "CHUNK", 64)
    shipped = Path(resolve("tiny").path)
    phase = Phase(2, 1e-3, 0.02, True, 1, layer_dropout=(0, 0, 0, 0.5, 1.0, 0), batch_tokens=512)
    train_to_miss_layers(tmp_path, shipped, phase)
    provenance = json.loads((tmp_path / "training.json").read_text())
    assert [done["steps"] for done in provenance["phases"]] == [6000, 2000, 2]
    assert provenance["config"]["phases"][-1]["layer_dropout"] == [0, 0, 0, 0.5, 1.0, 0]
    assert (tmp_path / "test.jsonl").read_text() == (shipped / "test.jsonl").read_text()
    old, new = (transformers.AutoModelForCausalLM.from_pretrained(path) for path in (shipped, tmp_path))
    assert new.config.num_hidden_layers == 6
    same = [
        torch.equal(a, b)
        for a, b in zip(old.model.layers[4].parameters(), new.model.layers[4].parameters(), strict=True)
    ]
    assert all(same), "what was always left out was not trained"


def test_the_shipped_model_is_small_and_says_how_it_was_made() -> None:
    folder = Path(resolve("tiny").path)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 6_000_000
    provenance = json.loads((folder / "training.json").read_text())
    assert len(provenance["phases"]) == len(provenance["config"]["phases"]) == 2


def test_the_drafting_model_is_smaller_and_has_the_same_vocabulary() -> None:
    tokenizer = build_tokenizer(DRAFT.seed)
    shipped = transformers.AutoTokenizer.from_pretrained(resolve("tiny").path)
    assert tokenizer.get_vocab() == shipped.get_vocab()
    model = build_model(tokenizer, DRAFT.layers)
    assert len(model.model.layers) == model.config.num_hidden_layers == 2
