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


def measured(seconds: dict[int, float], times: int = 1) -> StepCost:
    cost = StepCost()
    for _ in range(times):
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
    cost = measured({1: 1.0, 4: 4.0}, times=100)
    assert cost.seconds(2) == pytest.approx(2.0, rel=0.05)
    assert cost.seconds(64) > 4 * cost.seconds(4)
    falling = measured({1: 2.0, 4: 1.0})
    assert falling.seconds(4) >= falling.seconds(1), "more tokens never take less"


def test_one_slow_step_does_not_rule_out_a_number_of_tokens() -> None:
    cost = measured({1: 1.0, 2: 1.05, 6: 1.2}, times=50)
    cost.observe(3, 3.0)
    assert cost.seconds(3) < 1.25
    for _ in range(60):
        cost.observe(3, 3.0)
    assert cost.seconds(3) > 2, "what is always slow is believed"


def test_a_disturbed_step_is_no_measurement() -> None:
    cost = measured({})
    for _ in range(5):
        cost.observe(1, 1.0)
    cost.observe(1, 50.0)
    assert cost.seconds(1) == pytest.approx(1.0)


def test_an_empty_batch_needs_nothing() -> None:
    assert allocate([], StepCost()) == []
