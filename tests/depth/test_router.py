from __future__ import annotations

import numpy as np
import pytest

from reasonprune.depth import LayerProgram
from reasonprune.depth.router import BUCKETS, FEATURES, Router, features, read_router
from reasonprune.errors import ModelError

SHORT, LONG = LayerProgram.parse("0-2"), LayerProgram.parse("0-4")


def router_of(*biases: float, threshold: float = 0.5) -> Router:
    """Each program's log-odds, whatever the prompt."""
    weights = np.zeros((len(biases), FEATURES), np.float32)
    weights[:, -1] = biases
    return Router(6, (SHORT, LONG)[: len(biases)], weights, threshold)


def test_features_count_tokens():
    found = features([5, 5, 7])
    assert found.shape == (FEATURES,)
    assert found[5] == pytest.approx(np.log(3))
    assert found[7] == pytest.approx(np.log(2))
    assert found[BUCKETS] == pytest.approx(np.log(4))


def test_large_token_ids_have_a_bucket():
    assert features([151_935])[:BUCKETS].sum() > 0
    assert features([]).sum() == 1, "nothing but the constant"


@pytest.mark.parametrize(("biases", "program"), [((2.0, 3.0), SHORT), ((-2.0, 3.0), LONG), ((-2.0, -3.0), None)])
def test_the_cheapest_that_is_likely_enough(biases, program):
    assert router_of(*biases).route([1]).program == program


def test_no_programs():
    assert router_of().route([1]).program is None


def test_save_and_read(tmp_path):
    path = tmp_path / "folder" / "router.npz"
    router_of(1.0, 2.0, threshold=0.75).save(path)
    again = read_router(path)
    assert (again.layers, again.programs, again.threshold) == (6, (SHORT, LONG), 0.75)
    assert again.probabilities([3]) == pytest.approx(router_of(1.0, 2.0).probabilities([3]))


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_what_is_not_a_router(tmp_path, content):
    path = tmp_path / "router.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"router"):
        read_router(path)
