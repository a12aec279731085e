"""Retrieval trees that are looked up node by node."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.speculative.acceptance import prior
from reasonprune.speculative.extension import candidates, grown
from reasonprune.speculative.fusion import seen_share
from reasonprune.speculative.matching import Matches
from reasonprune.speculative.tree import Source, TokenTree

TEXT = st.lists(st.integers(0, 2), min_size=1, max_size=40).map(lambda tokens: np.array(tokens, np.int32))


def matches(text: list[int], context: list[int], source: Source = Source.RECENT) -> Matches:
    return Matches.of(np.array(text, np.int32), np.array(context, np.int32), source)


@given(TEXT, TEXT, st.integers(1, 12), st.integers(1, 6))
def test_a_grown_tree_is_a_tree_of_what_was_seen(
    text: np.ndarray, context: np.ndarray, nodes: int, longest: int
) -> None:
    tree = grown([Matches.of(text, context, Source.RECENT)], prior, nodes, longest)
    assert len(tree) < nodes + 2
    assert max(tree.depths) <= longest
    pairs = set(zip(text[:-1].tolist(), text[1:].tolist(), strict=True))
    for node in tree.nodes():
        before = tree.tokens[tree.parents[node]] if tree.parents[node] else int(context[-1])
        assert (before, tree.tokens[node]) in pairs
        assert tree.reaches[node] == pytest.approx(tree.reaches[tree.parents[node]] * tree.chances[node])
        assert 0 < tree.shares[node] <= 1 <= tree.seen[node]


def test_the_longest_match_of_each_source_decides_and_the_better_source_is_named() -> None:
    own = matches([1, 2, 3, 9, 2, 3, 8, 7, 1, 2, 3], [1, 2, 3], Source.REQUEST)
    other = matches([3, 5, 3, 5, 3, 9], [1, 2, 3])
    found = {candidate.token: candidate for candidate in candidates([own, other], prior)}
    assert set(found) == {9, 5}, "8 followed a shorter match"
    assert (found[9].source, found[9].matched, found[9].share, found[9].seen) == (Source.REQUEST, 3, 1.0, 1)
    assert (found[5].source, found[5].share, found[5].seen) == (Source.RECENT, pytest.approx(2 / 3), 3)


def test_a_branch_goes_on_where_another_text_joins_it() -> None:
    tree = grown([matches([1, 2, -1, 2, 3, 4, -1], [7, 1])], seen_share, 8, 8)
    assert tree.paths() == {(2,), (2, 3), (2, 3, 4)}


def test_a_repetition_is_continued_beyond_its_end() -> None:
    assert max(grown([matches([5, 6, 5, 6], [5, 6, 5, 6], Source.REQUEST)], prior, 7, 7).depths) == 7


def test_a_drafters_chain_is_followed_where_it_was_seen_however_unlikely() -> None:
    text = [1, 2, 1, 2, 1, 3, 1, 3, 1, 4, 5]
    assert (4,) not in grown([matches(text, [1])], seen_share, 16, 4, least=0.9).paths()
    followed = grown([matches(text, [1])], seen_share, 16, 4, least=0.9, along=[4, 5, 6])
    assert {(4,), (4, 5)} <= followed.paths()


def test_nothing_is_looked_up_below_the_least_reach() -> None:
    assert max(grown([matches([1, 2, 9, 1, 3, 9], [1])], seen_share, 16, 4, least=0.6).depths) == 1


def test_nothing_follows_where_nothing_was_seen() -> None:
    assert grown([matches([1, 2], [9]), matches([], [9])], prior, 8, 4) == TokenTree()
