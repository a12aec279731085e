"""Verified trees give the target's own output: the same tokens when greedy, the same distribution when sampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.speculative.tree import ROOT, Source, TokenTree
from reasonprune.speculative.verification import attention_mask, verify_greedy, verify_sampling

DRAWS = 20_000


def tree_of(*paths: tuple[int, ...]) -> TokenTree:
    tree = TokenTree()
    for path in paths:
        node = ROOT
        for token in path:
            node = tree.add(node, token, 0.5, Source.REQUEST)
    return tree


PATHS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), max_size=6)


@given(PATHS)
def test_a_node_sees_its_ancestors_and_itself(paths: list[tuple[int, ...]]) -> None:
    tree = tree_of(*paths)
    mask = attention_mask(tree)
    for node in range(len(tree) + 1):
        assert set(np.flatnonzero(mask[node]).tolist()) == {ROOT, *tree.path(node)}


@given(PATHS, st.integers(0, 2**32 - 1))
def test_greedy_accepts_exactly_what_the_target_would_write(paths: list[tuple[int, ...]], seed: int) -> None:
    tree = tree_of(*paths)
    choices = np.random.default_rng(seed).integers(0, 4, len(tree) + 1)
    accepted, token = verify_greedy(tree, choices)
    written = [*(tree.tokens[node] for node in accepted), token]
    node = ROOT
    for i, made in enumerate(written):
        assert made == choices[node], "each token is the target's choice after those before it"
        node = accepted[i] if i < len(accepted) else node
    assert tree.child(accepted[-1] if accepted else ROOT, token) is None, "and nothing that was drafted is left out"


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    """The p-value of counts against expected counts; cells that expect fewer than 5 are put together."""
    from scipy.stats import chisquare

    small = expected < 5
    if small.any():
        counts = np.append(counts[~small], counts[small].sum())
        expected = np.append(expected[~small], expected[small].sum())
    kept = expected > 0
    assert counts[~kept].sum() == 0, "what is impossible was drawn"
    return float(chisquare(counts[kept], expected[kept] * counts[kept].sum() / expected[kept].sum()).pvalue)


def test_sampling_draws_from_the_target() -> None:
    """Two tokens in a row, through accepted, rejected and missing drafts alike."""
    pytest.importorskip("scipy")
    rng = np.random.default_rng(7)
    tree = tree_of((2, 0), (2, 3), (0,), (1, 1))
    target = rng.dirichlet(np.full(4, 0.7), len(tree) + 1)
    first = np.zeros(4)
    second = np.zeros((4, 4))
    for _ in range(DRAWS):
        accepted, token = verify_sampling(tree, target, rng)
        written = [*(tree.tokens[node] for node in accepted), token]
        first[written[0]] += 1
        if len(written) > 1:
            second[written[0], written[1]] += 1
    assert chi_square(first, target[ROOT] * DRAWS) > 0.001
    for token in range(4):
        child = tree.child(ROOT, token)
        if child is not None:
            assert chi_square(second[token], target[child] * second[token].sum()) > 0.001


def test_a_draft_of_probability_zero_is_never_accepted() -> None:
    rng = np.random.default_rng(0)
    target = np.array([[0.0, 1.0], [0.5, 0.5]])
    assert all(verify_sampling(tree_of((0,)), target, rng) == ([], 1) for _ in range(100))
    assert all(verify_sampling(tree_of((1,)), target, rng)[0] == [1] for _ in range(100))
