from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from reasonprune.errors import ModelError
from reasonprune.judges.features import FEATURES, Batch
from reasonprune.judges.head import SHIPPED, Head, HeadSpec, Inputs, describe

DIMENSIONS = 24


def batch(count: int = 50) -> Batch:
    rng = np.random.default_rng(1)
    features = rng.random((count, len(FEATURES)), dtype=np.float32) * 4
    sides = rng.standard_normal((2, count, DIMENSIONS)).astype(np.float32)
    sides /= np.linalg.norm(sides, axis=2, keepdims=True)
    return Batch(features, sides[0], sides[1])


def head(inputs: Inputs) -> Head:
    torch.manual_seed(3)
    made = Head(HeadSpec(inputs, encoder="minilm", dimensions=DIMENSIONS), {"seen": ["abc"]})
    made.fit_scaling(batch())
    made.net.calibration.copy_(torch.tensor([0.7, -0.2]))
    return made


@pytest.mark.parametrize("inputs", ["text", "cosine", "embeddings"])
def test_a_saved_head_scores_as_before(inputs: Inputs, tmp_path: Path) -> None:
    made = head(inputs)
    made.save(tmp_path)
    loaded = Head.load(tmp_path)
    assert (loaded.spec, loaded.training) == (made.spec, {"seen": ["abc"]})
    assert np.array_equal(loaded.probabilities(batch()), made.probabilities(batch()))
    assert len(set(loaded.probabilities(batch()).tolist())) == 50


@pytest.mark.parametrize("inputs", ["text", "cosine", "embeddings"])
def test_the_order_of_a_pair_does_not_matter(inputs: Inputs) -> None:
    forth = batch()
    back = Batch(forth.features, forth.second, forth.first)
    assert np.array_equal(head(inputs).probabilities(forth), head(inputs).probabilities(back))


def test_only_a_head_that_takes_embeddings_looks_at_them() -> None:
    plain = batch()
    other = Batch(plain.features, plain.first, -np.asarray(plain.second))
    changed = {
        inputs: not np.array_equal(head(inputs).probabilities(plain), head(inputs).probabilities(other))
        for inputs in ("text", "cosine", "embeddings")
    }
    assert changed == {"text": False, "cosine": True, "embeddings": True}


def test_calibration_turns_logits_into_probabilities() -> None:
    made = head("text")
    with torch.inference_mode():
        expected = torch.sigmoid(0.7 * made.logits(batch()) - 0.2).numpy()
    assert made.probabilities(batch()) == pytest.approx(expected)
    assert made.probabilities(batch(0)).shape == (0,)


def test_a_head_of_fewer_features_finds_them_by_name() -> None:
    chosen = ("tail_jaccard", "numbers_jaccard")
    made = Head(HeadSpec("text", features=chosen))
    plain = batch()
    others = plain.features.copy()
    others[:, [i for i, name in enumerate(FEATURES) if name not in chosen]] = 9
    assert np.array_equal(made.probabilities(plain), made.probabilities(Batch(others)))
    swapped = plain.features.copy()
    swapped[:, FEATURES.index("tail_jaccard")] = 9
    assert not np.array_equal(made.probabilities(plain), made.probabilities(Batch(swapped)))


def test_a_feature_that_is_not_known_here(tmp_path: Path) -> None:
    head("text").save(tmp_path)
    description = json.loads((tmp_path / "head.json").read_text())
    description["spec"]["features"][0] = "phase_of_the_moon"
    (tmp_path / "head.json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match=r"phase_of_the_moon.*does not compute.*reasonprune train judge"):
        Head.load(tmp_path)


@pytest.mark.parametrize("broken", ["missing", "json", "format", "weights", "shape"])
def test_a_folder_that_holds_no_head(broken: str, tmp_path: Path) -> None:
    if broken != "missing":
        head("text").save(tmp_path)
    if broken == "json":
        (tmp_path / "head.json").write_text("{")
    if broken == "format":
        (tmp_path / "head.json").write_text('{"format": 99}')
    if broken == "weights":
        (tmp_path / "head.safetensors").write_bytes(b"12345678901")
    if broken == "shape":
        description = json.loads((tmp_path / "head.json").read_text())
        description["spec"]["hidden"] = 7
        (tmp_path / "head.json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match=r"holds no usable head.*reasonprune train judge --pool FILE"):
        Head.load(tmp_path)


def test_the_shipped_head_is_small_and_says_how_it_was_trained() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 500_000
    training = describe(SHIPPED)["training"]
    assert training["pools"]
    assert training["questions"]["test"] > 0
    assert len(training["seen"]) == training["questions"]["train"] + training["questions"]["validation"]
    assert training["provenance"]["seed"] == training["config"]["seed"]
    assert Head.load().spec.features
