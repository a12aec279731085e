from __future__ import annotations

import random

import pytest

from reasonprune.depth import LayerProgram
from reasonprune.depth.search import SearchConfig, TreeSearch, front, neighbours


def run(reward, simulations=150, layers=8, seed=0, **config):
    search = TreeSearch(layers, SearchConfig(longest=layers + 4, **config), random.Random(seed))
    for _ in range(simulations):
        program = search.propose()
        search.report(program, reward(program))
    return search


def test_actions_skip_and_repeat_blocks():
    found = set(neighbours((0, 1, 2), SearchConfig(longest=6)))
    assert {(0, 1), (0, 2), (1, 2), (0,), (2,)} <= found
    assert {(0, 0, 1, 2), (0, 1, 2, 0, 1, 2), (0, 1, 2, 2, 2, 2)} <= found
    assert () not in found
    assert max(map(len, found)) <= 6


def test_full_depth_is_tried_first():
    assert run(lambda program: 0.0, simulations=1).tried == {LayerProgram.full(8): 0.0}


def test_the_same_seed_tries_the_same():
    def reward(program):
        return program.cost % 2

    assert list(run(reward).tried) == list(run(reward).tried)
    assert list(run(reward).tried) != list(run(reward, seed=1).tried)


def test_it_finds_a_short_program_that_keeps_what_is_needed():
    """Right wherever layers 0, 3 and 7 run in this order; the shortest such program has three layers."""

    def reward(program):
        return float([layer for layer in program.layers if layer in (0, 3, 7)] == [0, 3, 7])

    search = run(reward, simulations=300)
    right = [program.cost for program, value in search.tried.items() if value]
    assert min(right) <= 4


def test_the_length_penalty_prefers_short_programs():
    def mean_cost(penalty):
        tried = run(lambda program: 1.0, length_penalty=penalty).tried
        return sum(program.cost for program in tried) / len(tried)

    assert mean_cost(5.0) < mean_cost(0.0)


@pytest.mark.parametrize("seed", range(3))
def test_it_goes_on_when_everything_was_tried(seed):
    search = run(lambda program: 0.0, simulations=400, layers=2, seed=seed, shortest=2)
    assert all(2 <= program.cost <= 6 for program in search.tried)


def test_the_front_holds_what_nothing_else_beats():
    def program(n):
        return LayerProgram.full(n)

    points = {program(6): 0.8, program(5): 0.8, program(4): 0.5, program(3): 0.6, program(2): 0.1}
    assert front(points) == [(program(2), 0.1), (program(3), 0.6), (program(5), 0.8)]
