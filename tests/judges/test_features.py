from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.judges import Snapshot, first_tokens
from reasonprune.judges.features import FEATURES, Batch, Reading, pair_features, read
from reasonprune.train.arithmetic import sample_hesitant_solution, sample_problem

QUESTION = "Start with 12, add 3, multiply by 2. What do you get?"


def reading(text: str, question: str = QUESTION, ended: bool = True) -> Reading:
    return read(Snapshot(0, 100, text, question, (), ended, None))


def features(first: str, second: str, ended: tuple[bool, bool] = (True, True)) -> dict[str, float]:
    values = pair_features(reading(first, ended=ended[0]), reading(second, ended=ended[1]))
    return dict(zip(FEATURES, values, strict=True))


def test_a_text_is_read_for_its_numbers_and_equations() -> None:
    found = reading("12+3=15.\n\nWait, 15*2=32.\n\nThe answer is \\boxed{32}.")
    assert found.numbers == {"12", "3", "15", "2", "32"}
    assert found.fresh == {"15", "32"}
    assert found.results == ("15", "32")
    assert found.equations == {"12+3": "15", "15*2": "32"}
    assert found.slips == {"15*2=32"}
    assert (found.box, found.conclusion, found.doubts, found.progress) == ("32", "32", 1, 1.0)


def test_equations_are_found_in_latex_with_units_and_currency() -> None:
    text = (
        "1. **Large pizzas**\n"
        "\\[ 2 \\text{ large pizzas} \\times 16 \\text{ slices per pizza} = 32 \\text{ slices} \\]\n"
        "Step 2: halve it\n\\( \\frac{32}{2} = 16 \\), which costs $1,200 + $50.50 = $1,250.50"
    )
    assert reading(text).equations == {"2*16": "32", "32/2": "16", "1200+50.50": "1250.5"}
    assert "1" not in reading(text).numbers


@pytest.mark.parametrize(
    ("equation", "wrong"),
    [
        ("2+3*4=14", False),
        ("2+3*4=20", True),
        ("100-30-20=50", False),
        ("10/3=3.33", False),
        ("10/3=3.4", True),
        ("5/0=5", True),
        ("381*2=762", False),
        ("381*2=764", True),
    ],
)
def test_a_slip_is_an_equation_that_is_wrong_beyond_rounding(equation: str, wrong: bool) -> None:
    assert bool(reading(f"So {equation}.").slips) == wrong


@pytest.mark.parametrize("text", ["x + 2x = 3x", "2x + 4 = 10", "f(3) = 2*3+1"])
def test_algebra_is_not_taken_for_arithmetic(text: str) -> None:
    assert reading(text).slips == frozenset()


def test_a_number_that_an_unfinished_text_breaks_off_in_is_not_read() -> None:
    assert reading("12+3=15.\n\n15*2=3", ended=False).results == ("15",)
    assert reading("12+3=15.\n\n15*2=3", ended=True).results == ("15", "3")


def test_what_is_concluded_without_a_box() -> None:
    assert reading("12+3=15. Thus").conclusion == "15"
    assert reading("It must be 99").conclusion == "99"
    assert reading("Add 12 and 3.").conclusion is None


def test_contrary_equations_and_the_point_of_parting() -> None:
    found = features("12+3=15.\n\n15*2=30.", "12+3=15.\n\n15*2=32.")
    assert (found["equations_agreed"], found["equations_contrary"]) == (math.log1p(1), math.log1p(1))
    assert found["equations_contrary_share"] == 0.5
    assert found["results_prefix"] == 0.5
    assert found["results_jaccard"] == pytest.approx(1 / 3)
    assert (found["slips_min"], found["slips_max"], found["slips_apart"]) == (0, math.log1p(1), math.log1p(1))
    assert (found["last_result_equal"], found["conclusion_equal"], found["last_number_equal"]) == (0, 0, 0)


def test_a_result_that_the_other_text_has_already() -> None:
    found = features("12+3=15.\n\n15*2=30.", "12+3=15.")
    assert (found["last_result_known_min"], found["last_result_known_max"]) == (0, 1)
    assert (found["results_overlap"], found["results_prefix"]) == (1, 1)


def test_boxes_count_only_as_far_as_they_are_in_the_texts() -> None:
    boxed, other, none = "so \\boxed{30}", "so \\boxed{32}", "15*2=30, and"
    assert features(boxed, boxed)["box_equal"] == 1
    assert features(boxed, other)["box_unequal"] == 1
    mixed = features(boxed, none)
    assert (mixed["box_count"], mixed["box_equal"], mixed["box_unequal"], mixed["box_known_max"]) == (1, 0, 0, 1)


def test_the_answer_of_an_ended_trace_is_not_looked_at() -> None:
    text = "12+3=15"
    values = [
        pair_features(read(Snapshot(0, 9, text, QUESTION, (), True, a)), reading(text)) for a in ("15", "99", None)
    ]
    assert values[0] == values[1] == values[2]


@given(st.integers(0, 10_000), st.floats(0.05, 1), st.floats(0.05, 1))
def test_the_order_of_a_pair_does_not_matter(seed: int, first: float, second: float) -> None:
    rng = random.Random(seed)
    problem = sample_problem(rng)
    pair = []
    for number, share in enumerate((first, second)):
        text = sample_hesitant_solution(rng, problem, 0.1)
        whole = Snapshot(number, len(text), text, problem.question, (), True, "1")
        pair.append(read(first_tokens(whole, round(share * len(text)))))
    values = pair_features(*pair)
    assert values == pair_features(pair[1], pair[0])
    assert len(values) == len(FEATURES) == len(set(FEATURES))
    assert all(math.isfinite(value) for value in values)


@pytest.mark.parametrize("text", ["", "hm", "=", "\\boxed{", "1" * 30_000, "(" * 5000, "1+" * 5000 + "1=2"])
def test_any_text_can_be_read(text: str) -> None:
    assert len(pair_features(reading(text), reading(""))) == len(FEATURES)


def test_a_batch_without_embeddings_says_so() -> None:
    batch = Batch(np.zeros((2, len(FEATURES)), dtype=np.float32))
    assert len(batch.take(np.array([1]))) == 1
    with pytest.raises(ValueError, match="not been embedded"):
        batch.sides()
