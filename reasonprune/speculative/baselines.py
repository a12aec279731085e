"""SuffixDecoding's rule for the length of a draft (arXiv 2411.04975), on our structures, to compare with.

For every length of the matched context: the greedy path through what followed, at most as long as the match, cut where
its probability falls below 0.1. The path with the largest sum of probabilities is drafted. Where `arctic_inference` is
installed, vLLM's own method `suffix` is the original.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reasonprune.speculative.acceptance import DraftToken, chain_of
from reasonprune.speculative.fusion import Continuation, retrieval_tree
from reasonprune.speculative.matching import occurrences
from reasonprune.speculative.tree import ROOT, Source, TokenTree

LEAST_PROBABILITY = 0.1
MOST_OCCURRENCES = 64


def suffix_chain(
    context: NDArray[np.int32], recent: NDArray[np.int32], separator: int, longest: int
) -> list[DraftToken]:
    """The draft for a request of prompt and output `context`, `recent` being the outputs of earlier requests."""
    best: list[DraftToken] = []
    best_score = 0.0
    for text, source in ((context, Source.REQUEST), (recent, Source.RECENT)):
        for matched, ends in occurrences(text, context):
            most = min(longest, matched)
            followed = []
            for end in ends[-MOST_OCCURRENCES:].tolist():
                tokens = text[end : end + most].tolist()
                tokens = tokens[: tokens.index(separator)] if separator in tokens else tokens
                if tokens:
                    followed.append(Continuation(tokens, matched, source))
            tree = retrieval_tree(followed)
            nodes = _greedy(tree)
            score = sum(tree.reaches[node] for node in nodes)
            if score >= best_score:
                best, best_score = chain_of(tree, nodes), score
    return best


def _greedy(tree: TokenTree) -> list[int]:
    likeliest: dict[int, int] = {}
    for node in tree.nodes():
        parent = tree.parents[node]
        if parent not in likeliest or tree.chances[node] > tree.chances[likeliest[parent]]:
            likeliest[parent] = node
    nodes: list[int] = []
    node = likeliest.get(ROOT, ROOT)
    while node != ROOT and tree.reaches[node] >= LEAST_PROBABILITY:
        nodes.append(node)
        node = likeliest.get(node, ROOT)
    return nodes
