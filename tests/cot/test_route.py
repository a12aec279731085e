from __future__ import annotations

import pytest

from reasonprune.cot.route import definitions, numbers, results, route_to, similarity
from reasonprune.cot.steps import split_steps

QUESTION = "Janet's ducks lay 16 eggs per day. She eats 3 and bakes with 4. The rest sells for $2. What does she make?"
CHAIN = """Let us work this out.

She has 16 - 3 - 4 = 9 eggs left.

Hmm, 16 * 2 = 32 would be all of them.

She sells them for $2 each: \\[ 9 \\times 2 = 18 \\]

So she makes $18."""


def route(chain: str, anchor: str, question: str = "") -> set[int]:
    return set(route_to(chain, split_steps(chain), anchor, question))


def test_equations_are_followed_back_from_the_answer() -> None:
    assert route(CHAIN, "The answer is \\boxed{18}.", QUESTION) == {1, 3}


def test_steps_that_resemble_the_answer_are_on_the_route() -> None:
    assert route(CHAIN, "Therefore, she makes $18.", QUESTION) == {1, 3, 4}


def test_a_number_that_is_never_worked_out_leads_to_where_it_is_first_said() -> None:
    chain = "There are many ducks.\n\nIt is known that 7 of them swim.\n\nAnd 7 it is."
    assert route(chain, "7") == {1}


def test_an_answer_without_numbers_and_likeness_has_no_route() -> None:
    assert route(CHAIN, "Paris") == set()


def test_numbers_are_canonical() -> None:
    assert numbers("$1,200.50 and 3.0 of x2") == ["2401/2", "3"]
    assert results("a = 4, so b \\approx \\$1,000. c = x") == {"4", "1000"}


@pytest.mark.parametrize(
    "definition",
    ["Let x be the price.", "Let \\( x \\) be the price.", "We denote the price by $x$.", "Suppose that x > 0."],
)
def test_definitions_that_are_used_later_are_found(definition: str) -> None:
    used = f"Well.\n\n{definition}\n\nThen \\( x = 3 \\)."
    assert definitions(used, split_steps(used)) == {1}
    unused = f"Well.\n\n{definition}\n\nThen it is 3, a lot."
    assert definitions(unused, split_steps(unused)) == set()


def test_similarity_is_zero_below_the_bar() -> None:
    assert similarity("She makes 18.", "She makes $18.") > 0.9
    assert similarity("She makes 18.", "zzzz") == 0.0
