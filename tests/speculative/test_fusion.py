"""Trees of drafts: what fusion, pruning, budget and chain must hold for any input."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.speculative.fusion import (
    Continuation,
    best_chain,
    draft_tree,
    fuse,
    prune,
    retrieval_tree,
    reweigh,
    within,
)
from reasonprune.speculative.tree import ROOT, Source, TokenTree

TOKEN = st.integers(0, 3)
CHANCE = st.floats(0, 1)
SEQUENCES = st.lists(st.lists(TOKEN, min_size=1, max_size=6), max_size=8)
FIRST = st.dictionaries(TOKEN, CHANCE, max_size=4)


def retrieved(sequences: Sequence[Sequence[int]]) -> TokenTree:
    return retrieval_tree([Continuation(tokens, 3, Source.REQUEST) for tokens in sequences])


@st.composite
def draft_trees(draw: st.DrawFn) -> TokenTree:
    """Any tree, as EAGLE's would be: each node below a random earlier one."""
    tree = TokenTree()
    for _ in range(draw(st.integers(0, 12))):
        parent = draw(st.integers(0, len(tree)))
        tree.add(parent, draw(TOKEN), draw(CHANCE), Source.DRAFT, 1)
    return tree


def check(tree: TokenTree) -> None:
    """Parents first, no duplicates, closed under prefixes, reaches are products and never rise."""
    spelled = [tree.spelled(node) for node in tree.nodes()]
    assert len(set(spelled)) == len(spelled)
    assert all(path[:-1] in set(spelled) or len(path) == 1 for path in spelled)
    for node in tree.nodes():
        parent = tree.parents[node]
        assert parent < node
        assert tree.depths[node] == tree.depths[parent] + 1 == len(tree.spelled(node))
        assert tree.reaches[node] == pytest.approx(tree.reaches[parent] * tree.chances[node])
        assert tree.child(parent, tree.tokens[node]) == node


@given(SEQUENCES)
def test_a_retrieval_tree_holds_its_continuations_and_their_shares(sequences: list[list[int]]) -> None:
    tree = retrieved(sequences)
    check(tree)
    assert tree.paths() == {tuple(tokens[:i]) for tokens in sequences for i in range(1, len(tokens) + 1)}
    for node in [ROOT, *tree.nodes()]:
        children = [child for child in tree.nodes() if tree.parents[child] == node]
        if children:
            assert sum(tree.shares[child] for child in children) == pytest.approx(1)
    for node in tree.nodes():
        path, count = tree.spelled(node), len(tree.spelled(node))
        through = sum(tuple(tokens[:count]) == path for tokens in sequences)
        above = sum(tuple(tokens[: count - 1]) == path[:-1] and len(tokens) >= count for tokens in sequences)
        assert tree.shares[node] == pytest.approx(through / above)


@given(draft_trees(), SEQUENCES)
def test_fusion_holds_both_trees_and_nothing_else(draft: TokenTree, sequences: list[list[int]]) -> None:
    other = retrieved(sequences)
    fused = fuse(draft, other)
    check(fused)
    assert fused.paths() == draft.paths() | other.paths()
    for node in fused.nodes():
        path = fused.spelled(node)
        assert (fused.sources[node] is Source.AGREED) == (path in draft.paths() and path in other.paths())


@given(draft_trees(), SEQUENCES)
def test_fusing_trusts_what_both_hold_no_less_than_either(draft: TokenTree, sequences: list[list[int]]) -> None:
    other = retrieved(sequences)
    fused = fuse(draft, other)
    by_path = {fused.spelled(node): fused.reaches[node] for node in fused.nodes()}
    for tree in (draft, other):
        assert all(by_path[tree.spelled(node)] >= tree.reaches[node] - 1e-9 for node in tree.nodes())


@given(SEQUENCES, FIRST, st.integers(1, 4))
def test_pruning_keeps_whole_branches_of_the_likeliest_first_tokens(
    sequences: list[list[int]], first: dict[int, float], k: int
) -> None:
    tree = retrieved(sequences)
    pruned = prune(tree, first, k)
    check(pruned)
    kept = {path[0] for path in pruned.paths()}
    assert len(kept) <= k
    assert pruned.paths() == {path for path in tree.paths() if path[0] in kept}
    for token in {path[0] for path in tree.paths()} - kept:
        assert token not in first or sum(other >= first[token] for other in first.values()) >= k


@given(SEQUENCES, FIRST)
def test_reweighing_drops_nothing(sequences: list[list[int]], first: dict[int, float]) -> None:
    tree = retrieved(sequences)
    reweighed = reweigh(tree, first)
    check(reweighed)
    assert reweighed.paths() == tree.paths()


@given(draft_trees(), SEQUENCES, st.integers(0, 20))
def test_a_budget_keeps_the_likeliest_nodes_as_a_tree(
    draft: TokenTree, sequences: list[list[int]], budget: int
) -> None:
    fused = fuse(draft, retrieved(sequences))
    cut = within(fused, budget)
    check(cut)
    assert len(cut) == min(budget, len(fused))
    assert cut.paths() <= fused.paths()
    kept, dropped = cut.paths(), fused.paths() - cut.paths()
    reach = {fused.spelled(node): fused.reaches[node] for node in fused.nodes()}
    assert (
        min((reach[path] for path in kept), default=1.0) >= max((reach[path] for path in dropped), default=0.0) - 1e-12
    )


@given(draft_trees(), st.integers(0, 6))
def test_the_best_chain_expects_the_most_accepted_tokens(tree: TokenTree, longest: int) -> None:
    chain = best_chain(tree, longest)
    assert len(chain) <= longest
    assert chain == (tree.path(chain[-1]) if chain else [])

    def value(nodes: list[int]) -> float:
        return sum(tree.reaches[node] for node in nodes)

    every = [tree.path(node) for node in tree.nodes() if tree.depths[node] <= longest]
    assert value(chain) == pytest.approx(max(map(value, every), default=0.0))


@given(st.lists(st.integers(0, 9), max_size=6))
def test_a_drafters_chain_is_a_tree_of_one_path(tokens: list[int]) -> None:
    tree = draft_tree(tokens)
    check(tree)
    assert tree.leaves() == ([len(tokens)] if tokens else [])


def test_token_ids_beyond_16_bits_stay_what_they_are() -> None:
    tree = retrieved([[151_643, 70_000], [151_643, 2**31]])
    assert tree.paths() == {(151_643,), (151_643, 70_000), (151_643, 2**31)}


def test_a_match_one_token_shorter_counts_half() -> None:
    tree = retrieval_tree([Continuation([1], 4, Source.REQUEST), Continuation([2], 3, Source.REQUEST, 0.5)])
    assert tree.shares[1:] == [pytest.approx(2 / 3), pytest.approx(1 / 3)]
