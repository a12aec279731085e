"""Verifying a tree of drafts against the target's distributions, so that the output is the target's own.

Rows of `target` belong to nodes, the root first: row i is the target's distribution of the token after node i.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonprune.speculative.tree import ROOT, TokenTree

Floats = NDArray[np.floating[Any]]


def attention_mask(tree: TokenTree) -> NDArray[np.bool_]:
    """(nodes, nodes) with the root: True where the row's node may see the column's, its ancestors and itself."""
    count = len(tree) + 1
    mask = np.zeros((count, count), np.bool_)
    mask[ROOT, ROOT] = True
    for node in tree.nodes():
        mask[node] = mask[tree.parents[node]]
        mask[node, node] = True
    return mask


def verify_greedy(tree: TokenTree, choices: NDArray[np.integer]) -> tuple[list[int], int]:
    """(accepted nodes, the token after them). `choices[i]`: the target's likeliest token after node i."""
    node, accepted = ROOT, list[int]()
    while (child := tree.child(node, int(choices[node]))) is not None:
        accepted.append(child)
        node = child
    return accepted, int(choices[node])


def verify_sampling(tree: TokenTree, target: Floats, rng: np.random.Generator) -> tuple[list[int], int]:
    """(accepted nodes, the token after them), distributed as sampling from `target` token by token.

    At each node its children are tried in the order of the tree, which was fixed before: a child is accepted with its
    probability under what is left of the distribution, and taken out of it when it is rejected.
    """
    children: dict[int, list[int]] = {}
    for node in tree.nodes():
        children.setdefault(tree.parents[node], []).append(node)
    node, accepted = ROOT, list[int]()
    while True:
        left = target[node].astype(np.float64)
        left /= left.sum()
        taken = None
        for child in children.get(node, ()):
            token = tree.tokens[child]
            if rng.random() < left[token]:
                taken = child
                break
            left[token] = 0.0
            total = left.sum()
            if total <= 0:  # rounding: all of the mass was on rejected tokens
                left = target[node].astype(np.float64)
                break
            left /= total
        if taken is None:
            return accepted, int(rng.choice(len(left), p=left / left.sum()))
        accepted.append(taken)
        node = taken
