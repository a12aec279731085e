from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.answers import extract_answer
from reasonprune.train.arithmetic import (
    LEVELS,
    STYLES,
    Problem,
    sample_hesitant_solution,
    sample_problem,
    sample_problems,
    sample_solution,
)


def test_a_problem_is_applied_from_left_to_right() -> None:
    problem = Problem(10, (("+", 5), ("*", 3), ("-", 1)), level=3)
    assert problem.answer == 44
    assert problem.question == "Start with 10, add 5, multiply by 3, subtract 1. What do you get?"


@given(st.integers(), st.sampled_from(LEVELS), st.sampled_from(STYLES))
def test_without_slips_every_solution_is_right(seed: int, level: int, style: str) -> None:
    rng = random.Random(seed)
    problem = sample_problem(rng, level)
    for solution in (sample_solution(rng, problem, 0.0, style), sample_hesitant_solution(rng, problem, 0.0)):
        assert extract_answer(solution) == str(problem.answer)
        assert "I had" not in solution


@pytest.mark.parametrize("write", [sample_solution, sample_hesitant_solution])
def test_slips_make_some_solutions_wrong(write: object) -> None:
    rng = random.Random(0)
    problem = sample_problem(rng, 5)
    answers = [extract_answer(write(rng, problem, 0.1)) for _ in range(200)]  # type: ignore[operator]
    right = answers.count(str(problem.answer))
    assert 20 < right < 180


def test_hesitant_solutions_that_run_long_are_wrong_more_often() -> None:
    rng = random.Random(0)
    wrong: dict[bool, list[bool]] = {True: [], False: []}
    for _ in range(4000):
        problem = sample_problem(rng, 4)
        solution = sample_hesitant_solution(rng, problem, 0.05)
        wrong["Wait" in solution].append(extract_answer(solution) != str(problem.answer))
    shares = {checked: sum(found) / len(found) for checked, found in wrong.items()}
    assert shares[True] > 1.3 * shares[False]


def test_problems_are_distinct_reproducible_and_unlike_what_is_named() -> None:
    first = sample_problems(7, 60, levels=(3, 4))
    assert first == sample_problems(7, 60, levels=(3, 4))
    assert len({problem.question for problem in first}) == 60
    assert [problem.level for problem in first[:4]] == [3, 4, 3, 4]
    taken = {problem.question for problem in first}
    assert taken.isdisjoint(problem.question for problem in sample_problems(7, 60, levels=(3, 4), unlike=taken))
