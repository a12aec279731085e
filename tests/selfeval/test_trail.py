from __future__ import annotations

import math

import numpy as np
import pytest

from reasonprune.selfeval.trail import TRAIL, trails


def test_before_the_first_token_there_is_nothing():
    assert trails([[]]).tolist() == [[0.0] * TRAIL]


@pytest.mark.parametrize("tokens", [1, 2, 7, 8, 9, 31, 64, 65, 300])
def test_it_is_what_its_parts_say_at_any_length(tokens):
    x = -np.random.default_rng(tokens).exponential(0.5, tokens)
    found = trails([x, np.full(3, -9.0)])[0]  # the other is longer or shorter
    least = np.pad(np.sort(x)[:8], (0, max(0, 8 - tokens)))
    stretches = [[x[i : i + w].mean() for i in range(max(1, tokens - w + 1))] for w in (8, 16, 32)]
    expected = [
        x.min(),
        x.mean(),
        math.log1p(-x.sum()),
        math.log1p(tokens),
        *(x[-latest:].mean() for latest in (8, 16, 32, 64)),
        *(min(means) for means in stretches),
        least[1],
        least[:4].mean(),
        least.mean(),
        (x < -0.7).mean(),
        (x < -2).sum(),
        math.log1p((x < -0.7).sum()),
    ]
    assert found == pytest.approx(expected)
    assert len(found) == TRAIL
