from __future__ import annotations

import numpy as np
import pytest

from reasonprune.depth import LayerProgram
from reasonprune.depth.router import BUCKETS, FEATURES, Router, features, read_router
from reasonprune.errors import ModelError

SHORT, LONG = LayerProgram.parse("0-2"), LayerProgram.parse("0-4")


def router_of(*biases: float, margin: float = 0.1) -> Router:
    """Log-odds of each program and of full depth, whatever the prompt."""
    weights = np.zeros((len(biases), FEATURES), np.float32)
    weights[:, -1] = biases
    return Router(6, (SHORT, LONG)[: len(biases) - 1], weights, margin)


def test_features_count_tokens():
    found = features([5, 5, 7])
    assert found.shape == (FEATURES,)
    assert found[5] == pytest.approx(np.log(3))
    assert found[7] == pytest.approx(np.log(2))
    assert found[BUCKETS] == pytest.approx(np.log(4))


def test_large_token_ids_have_a_bucket():
    assert features([151_935])[:BUCKETS].sum() > 0
    assert features([]).sum() == 1, "nothing but the constant"


@pytest.mark.parametrize(
    ("biases", "program"),
    [((2.9, 3.0, 3.0), SHORT), ((-2.0, 2.9, 3.0), LONG), ((-2.0, 0.0, 3.0), None), ((-3.0, -3.0, -3.0), SHORT)],
)
def test_the_cheapest_that_is_nearly_as_likely_as_full_depth(biases, program):
    assert router_of(*biases).route([1]).program == program


def test_it_says_what_it_compared():
    assert (
        router_of(2.9, 3.0).route([1]).reason == "right with probability 0.95, and 0.95 at full depth, says the router"
    )
    assert router_of(0.0, 3.0).route([1]).reason == (
        "full depth: right with probability 0.95, and 0.50 with fewer layers"
    )


def test_no_programs():
    assert router_of(1.0).route([1]).program is None


def test_save_and_read(tmp_path):
    path = tmp_path / "folder" / "router.npz"
    router_of(1.0, 2.0, 3.0, margin=0.02).save(path)
    again = read_router(path)
    assert (again.layers, again.programs, again.margin) == (6, (SHORT, LONG), 0.02)
    assert again.probabilities([3]) == pytest.approx(router_of(1.0, 2.0, 3.0).probabilities([3]))


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_what_is_not_a_router(tmp_path, content):
    path = tmp_path / "router.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"router") as caught:
        read_router(path)
    assert "pickle" not in str(caught.value)


def test_a_cut_off_router(tmp_path):
    path = tmp_path / "router.npz"
    router_of(1.0, 2.0).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match="is not a router of ours"):
        read_router(path)
