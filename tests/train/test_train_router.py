from __future__ import annotations

import numpy as np
import pytest

from reasonprune.depth import LayerProgram
from reasonprune.depth.router import features
from reasonprune.train.router import NEVER, Labels, RouterConfig, always, fit, logistic, score

LEAN = LayerProgram.parse("0-3")
CONFIG = RouterConfig("m", bank=None)
EASY, HARD = [11, 12, 13], [21, 22, 23]


def labels(count, lean_right_on_easy=1.0, lean_right_on_hard=0.0, full_right=1.0, seed=0):
    """Prompts of easy and of hard tokens in turn; the lean program is right as often as said."""
    rng = np.random.default_rng(seed)
    rows, right = [], []
    for i in range(count):
        words, share = (EASY, lean_right_on_easy) if i % 2 else (HARD, lean_right_on_hard)
        rows.append(features([*words, *rng.integers(30, 60, 8)]))
        right.append([rng.random() < share, rng.random() < full_right])
    return Labels(np.stack(rows), np.array(right, bool))


def test_a_logistic_model_learns_what_the_prompt_tells():
    seen = labels(200)
    weights = logistic(seen.features, seen.right[:, 0])
    unseen = labels(100, seed=1)
    assert ((unseen.features @ weights > 0) == unseen.right[:, 0]).mean() > 0.95


def test_easy_prompts_run_fewer_layers_without_loss():
    router, _ = fit(labels(300), [LEAN], 6, CONFIG)
    found = score(router, labels(100, seed=1))
    assert found["accuracy"] >= 0.99
    assert found["layers"] == pytest.approx(5.0, abs=0.2), "half at 4, half at 6"
    assert always(router, labels(100, seed=1)) == [{"program": "0-3", "layers": 4, "accuracy": 0.5}]


def test_a_program_that_costs_accuracy_is_never_chosen():
    router, held_out = fit(labels(300, lean_right_on_easy=0.3, lean_right_on_hard=0.3), [LEAN], 6, CONFIG)
    assert held_out["layers"] == 6
    assert router.route(EASY).program is None


def test_without_programs_all_is_full_depth():
    seen = labels(40)
    router, found = fit(Labels(seen.features, seen.right[:, 1:]), [], 6, CONFIG)
    assert (found["layers"], found["accuracy"], router.margin) == (6, 1.0, NEVER)
    assert router.route(EASY).program is None


def test_where_full_depth_is_wrong_as_well_fewer_layers_cost_nothing():
    seen = labels(300, full_right=0.3)
    router, held_out = fit(Labels(seen.features, seen.right[:, [1, 1]]), [LEAN], 6, CONFIG)
    assert held_out["layers"] == 4
    assert router.route(EASY).program == LEAN
