from __future__ import annotations

import pytest

from reasonprune.depth.worth import speed_up, time_saved


@pytest.mark.parametrize(
    ("agreement", "cost", "expected"),
    [
        (1.0, 1.0, 1.0),  # a draft as dear as the model saves nothing
        (0.0, 0.5, 1.0),  # nor does one that is never right
        (1.0, 0.5, 13 / 7),  # 12 tokens and the model's own for 12 halves and a pass
        (0.5, 0.9, 1.0),
    ],
)
def test_speed_up(agreement, cost, expected):
    assert speed_up(agreement, cost) == pytest.approx(expected)


@pytest.mark.parametrize("agreement", [0.3, 0.8, 0.95])
def test_the_best_length_of_draft_is_taken(agreement):
    every = [(1 - agreement ** (g + 1)) / (1 - agreement) / (g * 0.25 + 1) for g in range(13)]
    assert speed_up(agreement, 0.25) == pytest.approx(max(every))


def test_time_saved_is_a_reward():
    assert time_saved(0.3, 1.0) == 0
    assert 0 < time_saved(0.95, 0.5) < time_saved(0.95, 0.3) < time_saved(1.0, 0.3) < 1
