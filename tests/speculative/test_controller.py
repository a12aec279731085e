"""Draft lengths from estimates and measured step times."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.speculative.controller import KNOTS, StepCost, allocate

CHAINS = st.lists(
    st.lists(st.floats(0, 1), max_size=4).map(lambda chances: list(itertools.accumulate(chances, lambda a, b: a * b))),
    min_size=1,
    max_size=4,
)


def measured(seconds: dict[int, float]) -> StepCost:
    cost = StepCost()
    for tokens, value in seconds.items():
        cost.observe(tokens, value)
    return cost


@given(CHAINS, st.floats(0.001, 1), st.floats(0, 0.2))
def test_no_other_lengths_give_more_tokens_per_second(reaches: list[list[float]], base: float, slope: float) -> None:
    cost = measured({knot: base + slope * knot for knot in KNOTS})
    lengths = allocate(reaches, cost)

    def rate(chosen: tuple[int, ...]) -> float:
        expected = len(reaches) + sum(sum(chain[:k]) for chain, k in zip(reaches, chosen, strict=True))
        return expected / cost.seconds(len(reaches) + sum(chosen))

    best = max(map(rate, itertools.product(*(range(len(chain) + 1) for chain in reaches))))
    assert rate(tuple(lengths)) == pytest.approx(best)


def test_speculation_ends_where_verifying_costs_as_much_as_decoding() -> None:
    reaches = [[0.6, 0.36, 0.2]] * 16
    free = measured(dict.fromkeys(KNOTS, 1.0))
    assert allocate(reaches, free) == [3] * 16
    proportional = measured({knot: float(knot) for knot in KNOTS})
    assert allocate(reaches, proportional) == [0] * 16


def test_the_likeliest_drafts_of_the_batch_go_first() -> None:
    cost = measured({knot: 1 + 0.3 * knot for knot in KNOTS})
    lengths = allocate([[0.9, 0.85, 0.8], [0.1, 0.01]], cost)
    assert lengths[0] >= 1
    assert lengths[1] == 0


def test_costs_are_read_between_and_beyond_what_was_measured() -> None:
    cost = measured({1: 1.0, 4: 4.0})
    assert cost.seconds(2) == pytest.approx(2.0)
    assert cost.seconds(64) > cost.seconds(4)
    assert measured({1: 2.0, 4: 1.0}).seconds(4) == 2.0, "more tokens never take less"


def test_a_disturbed_step_is_no_measurement() -> None:
    cost = measured({})
    for _ in range(5):
        cost.observe(1, 1.0)
    cost.observe(1, 50.0)
    assert cost.seconds(1) == pytest.approx(1.0)


def test_an_empty_batch_needs_nothing() -> None:
    assert allocate([], StepCost()) == []
