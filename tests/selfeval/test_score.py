from __future__ import annotations

import math

import pytest

from reasonprune.selfeval import Evaluation, SelfScore
from reasonprune.selfeval.score import SelfEvalBooks


@pytest.mark.parametrize(
    ("score", "sound"),
    [
        (SelfScore(0.5), True),
        (SelfScore(0.0, 1.0, 0.0), True),
        (SelfScore(math.nan), False),
        (SelfScore(0.5, math.nan), False),
        (SelfScore(1.5), False),
        (SelfScore(0.5, 0.5, math.nan), False),
        (SelfScore(0.5, 0.5, math.inf), False),
    ],
)
def test_only_probabilities_are_sound(score: SelfScore, sound: bool) -> None:
    assert score.sound is sound


def test_a_threshold_is_held_against_being_unbeaten_where_that_is_known() -> None:
    assert SelfScore(0.2).content == 0.2
    assert SelfScore(0.2, 0.9).content == 0.9


def test_the_books_count_and_leave_out_what_is_no_number() -> None:
    books = SelfEvalBooks()
    scores = books.take([3, 4, 5], Evaluation([SelfScore(0.5), SelfScore(math.nan), None], 2, 70))
    assert scores == books.last == {3: SelfScore(0.5)}
    assert (books.unsound, books.generated, books.prompted) == (1, 2, 70)
