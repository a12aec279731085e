"""RASD's operations on trees: retrieval tree, pruning by the drafter's distribution, fusion, budget, best chain.

Pruning and fusion follow the paper (arXiv 2503.03434). What it leaves to hand-set numbers, the size of the union and
branches that go wrong below their first token, is decided here by each node's estimated acceptance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reasonprune.speculative.tree import ROOT, Source, TokenTree

Estimate = Callable[[Source, int, float, int], float]
"""(source, matched context in tokens, share of the occurrences that go on so, occurrences) -> chance of acceptance."""


DECAY = 0.5  # weight of a match that is one token shorter


@dataclass(frozen=True)
class Continuation:
    """Tokens that followed an occurrence of the context's end; `matched`: how many tokens of context agreed there."""

    tokens: Sequence[int]
    matched: int
    source: Source
    weight: float = 1.0


def seen_share(source: Source, matched: int, ratio: float, seen: int) -> float:
    """The plainest estimate: as often as it was seen."""
    return ratio


def retrieval_tree(
    continuations: Sequence[Continuation], estimate: Estimate = seen_share, unseen: float = 0.0
) -> TokenTree:
    """The trie of `continuations`. A node's ratio is the weight that passes through it over that of its parent.

    The parent's weight is what went through it, not what ended there, so continuations of different lengths are fair
    to each other. Deeper nodes count as matched by their ancestors too. `unseen`: weight of what was not seen yet, by
    which one occurrence says less than eight that agree.
    """
    tree = TokenTree()
    weights, passing = [0.0], [0.0]
    for continuation in continuations:
        node = ROOT
        for depth, token in enumerate(continuation.tokens):
            passing[node] += continuation.weight
            node = tree.add(node, token, 0.0, continuation.source, continuation.matched + depth)
            if node == len(weights):
                weights.append(0.0)
                passing.append(0.0)
            weights[node] += continuation.weight
            tree.matched[node] = max(tree.matched[node], continuation.matched + depth)
    for node in tree.nodes():
        parent = tree.parents[node]
        tree.shares[node] = weights[node] / (passing[parent] + unseen)
        tree.seen[node] = max(1, round(passing[parent]))
        tree.chances[node] = estimate(tree.sources[node], tree.matched[node], tree.shares[node], tree.seen[node])
        tree.reaches[node] = tree.reaches[parent] * tree.chances[node]
    return tree


def draft_tree(tokens: Sequence[int], estimate: Estimate = seen_share) -> TokenTree:
    """A drafter's chain; drafters that give trees add their nodes to a `TokenTree` themselves."""
    tree, node = TokenTree(), ROOT
    for depth, token in enumerate(tokens, 1):
        node = tree.add(node, token, estimate(Source.DRAFT, depth, 1.0, 1), Source.DRAFT, depth)
    return tree


def top_tokens(first: Mapping[int, float], k: int) -> set[int]:
    """The `k` likeliest tokens of the drafter's first distribution."""
    return set(sorted(first, key=lambda token: (-first[token], token))[:k])


def prune(tree: TokenTree, first: Mapping[int, float], k: int = 10) -> TokenTree:
    """The paper's rule: drops all continuations whose first token is not among the drafter's `k` likeliest."""
    allowed = top_tokens(first, k)
    return _kept(tree, [_first(tree, node) in allowed for node in range(len(tree) + 1)])


def reweigh(tree: TokenTree, first: Mapping[int, float]) -> TokenTree:
    """In place of a cut: what the drafter thinks of a first token is averaged with what retrieval does.

    Under a budget, unlikely branches lose their places to better ones, and keep them where there are none.
    """
    chances = list(tree.chances)
    for node in tree.nodes():
        if tree.parents[node] == ROOT:
            chances[node] = (chances[node] + first.get(tree.tokens[node], 0.0)) / 2
    return _rebuilt(tree, range(1, len(tree) + 1), chances)


def fuse(draft: TokenTree, retrieved: TokenTree) -> TokenTree:
    """The union by longest prefix match: what both hold is there once, the rest hangs below the deepest shared node.

    A shared node is rejected only where both sources err, taken as independent.
    """
    fused = _rebuilt(draft, range(1, len(draft) + 1), draft.chances)
    own, places = len(fused), [ROOT]
    for node in retrieved.nodes():
        parent, token = places[retrieved.parents[node]], retrieved.tokens[node]
        chance, matched = retrieved.chances[node], retrieved.matched[node]
        share, seen = retrieved.shares[node], retrieved.seen[node]
        place = fused.add(parent, token, chance, retrieved.sources[node], matched, share, seen)
        if place <= own:
            fused.chances[place] = 1 - (1 - fused.chances[place]) * (1 - chance)
            fused.sources[place] = Source.AGREED
            fused.matched[place], fused.shares[place], fused.seen[place] = matched, share, seen
        places.append(place)
    for node in fused.nodes():
        fused.reaches[node] = fused.reaches[fused.parents[node]] * fused.chances[node]
    return fused


def within(tree: TokenTree, budget: int) -> TokenTree:
    """The `budget` nodes likeliest to be reached; a child is never likelier than its parent, so they make a tree."""
    order = sorted(tree.nodes(), key=lambda node: (-tree.reaches[node], node))
    return _rebuilt(tree, sorted(order[:budget]), tree.chances)


def best_chain(tree: TokenTree, longest: int) -> list[int]:
    """The path (nodes, at most `longest`) with the largest expected number of accepted tokens, the sum of its reaches.

    A sum over a path from the root grows with every node, so the best path ends in a leaf or at `longest`.
    """
    best, best_value, values = ROOT, 0.0, [0.0] * len(tree.tokens)
    for node in tree.nodes():
        if tree.depths[node] <= longest:
            values[node] = values[tree.parents[node]] + tree.reaches[node]
            if values[node] > best_value:
                best, best_value = node, values[node]
    return tree.path(best)


def _first(tree: TokenTree, node: int) -> int:
    while tree.depths[node] > 1:
        node = tree.parents[node]
    return tree.tokens[node]


def _kept(tree: TokenTree, keep: Sequence[bool]) -> TokenTree:
    return _rebuilt(tree, [node for node in tree.nodes() if keep[node]], tree.chances)


def _rebuilt(tree: TokenTree, nodes: Sequence[int], chances: Sequence[float]) -> TokenTree:
    """The tree of `nodes` (ascending, closed under parents) with new chances."""
    rebuilt, places = TokenTree(), {ROOT: ROOT}
    for node in nodes:
        parent = places[tree.parents[node]]
        source, matched, share, seen = tree.sources[node], tree.matched[node], tree.shares[node], tree.seen[node]
        places[node] = rebuilt.add(parent, tree.tokens[node], chances[node], source, matched, share, seen)
    return rebuilt
