from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="needs the extra self-eval; run `make setup`")

from reasonprune.selfeval.measures import ece, plot_reliability, reliability, score_figures


def test_calibrated_scores_have_no_error() -> None:
    scores, right = [0.25] * 4 + [1.0], [1.0, 0, 0, 0, 1.0]
    assert reliability(scores, right) == [
        {"score": 0.25, "right": 0.25, "count": 4},
        {"score": 1.0, "right": 1.0, "count": 1},
    ]
    assert ece(scores, right) == 0
    assert ece([], []) is None


def test_the_error_is_weighted_by_bucket() -> None:
    assert ece([0.9, 0.9, 0.9, 0.1], [0, 0, 0, 0]) == pytest.approx((3 * 0.9 + 0.1) / 4)


def test_within_questions_the_difficulty_of_a_question_is_worth_nothing() -> None:
    right = [True] * 9 + [False] + [True] + [False] * 9
    scores = [0.9] * 10 + [0.1] * 10
    found = score_figures(scores, right, [0] * 10 + [1] * 10)
    assert found["auroc_pooled"] == 0.9
    assert found["auroc_within"] == 0.5
    assert (found["questions"], found["questions_with_both"], found["right_share"]) == (2, 2, 0.5)


def test_scores_that_are_no_numbers_are_left_out() -> None:
    found = score_figures([math.nan, 0.8, 0.2], [False, True, False], [0, 0, 0])
    assert (found["traces"], found["auroc_within"]) == (2, 1.0)


def test_one_class_has_no_auroc() -> None:
    assert score_figures([0.5, 0.6], [True, True], [0, 0])["auroc_pooled"] is None


def test_the_plot_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra bench; run `make setup`")
    rows = {"0.5": reliability([0.2, 0.8], [0, 1])}
    assert plot_reliability(rows, tmp_path / "a.svg")
    assert plot_reliability(rows, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
