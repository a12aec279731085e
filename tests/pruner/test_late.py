from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from reasonprune.pruner.reading import Ranking

QUESTION, TEXTS = (
    "What do bees make?",
    ["Bees make honey in hives.", "The tower stands in Paris and is 330 metres tall."],
)


def test_the_encoders_own_vectors_come_from_the_lower_states(pruner: Any) -> None:
    from reasonprune.pruner.embedding import Embedder

    network, tokenizer = pruner.model.network, pruner.model.tokenizer
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = network.lower(inputs["input_ids"], inputs["attention_mask"])
        found = network.vectors(states, inputs["attention_mask"])
    wanted = Embedder("minilm").vectors(TEXTS)
    for row, text in zip(found, TEXTS, strict=True):
        assert float(row @ wanted[text]) == pytest.approx(1.0, abs=2e-3)


def test_likeness_adds_the_cosine_to_the_ranking(pruner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pruner.model
    monkeypatch.setattr(model, "ranking", Ranking())
    logits = model.read([QUESTION] * 2, TEXTS).rank
    monkeypatch.setattr(model, "ranking", Ranking(head=0.5, likeness=8.0))
    both = model.read([QUESTION] * 2, TEXTS).rank  # of texts that were read before, without a cosine
    cosines = [(one - 0.5 * logit) / 8.0 + 0.5 for one, logit in zip(both, logits, strict=True)]
    assert 1 > cosines[0] > cosines[1] > -1
    monkeypatch.setattr(model, "ranking", Ranking(head=0.0, likeness=1.0))
    assert model.read([QUESTION] * 2, TEXTS).rank == pytest.approx([cosine - 0.5 for cosine in cosines], abs=2e-3)
