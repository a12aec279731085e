"""The retrieval tree of a batch row: what may follow its text, looked up anew below every node.

The paper retrieves once and cuts continuations into a trie. Here each node is looked up with the tokens on its path as
context, so that a branch gains evidence where other texts join it and loses it where they part. What the longest match
says is taken, source by source, and every token's chance is the estimate of `acceptance`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reasonprune.speculative.fusion import Estimate
from reasonprune.speculative.matching import Matches
from reasonprune.speculative.tree import ROOT, Source, TokenTree

OCCURRENCES = 64  # of the longest match that are counted
BRANCHES = 2  # likeliest tokens of each source


@dataclass(frozen=True)
class Candidate:
    """A token that may follow, with the evidence of the source that makes it likeliest."""

    token: int
    chance: float
    source: Source
    matched: int
    share: float
    seen: int


def candidates(matches: Sequence[Matches], estimate: Estimate, also: int | None = None) -> list[Candidate]:
    """The likeliest tokens after the context; `also` is among them wherever it was seen.

    Two sources that say the same are no surer than the better of them: what one holds, the other often holds too.
    """
    best: dict[int, Candidate] = {}
    for places in matches:
        matched, following = places.longest(OCCURRENCES)
        if not matched:
            continue
        counts = Counter(following)  # in the order of the latest
        chosen = counts if len(counts) == 1 else dict(counts.most_common(BRANCHES))
        if also is not None and also in counts and also not in chosen:
            chosen[also] = counts[also]
        for token, count in chosen.items():
            share = count / len(following)
            chance = estimate(places.source, matched, share, len(following))
            if token not in best or chance > best[token].chance:
                best[token] = Candidate(token, chance, places.source, matched, share, len(following))
    return list(best.values())


def grown(
    matches: Sequence[Matches],
    estimate: Estimate,
    nodes: int,
    longest: int,
    least: float = 0.0,
    along: Sequence[int] = (),
) -> TokenTree:
    """The tree of about `nodes` nodes, none deeper than `longest`, the likeliest to be reached looked up first.

    `least`: reach of a node below which nothing is looked up. `along`: a drafter's chain, which is followed as far as
    it was ever seen.
    """
    tree = TokenTree()
    waiting: list[tuple[float, int, Sequence[Matches], int]] = [(-1.0, ROOT, matches, 0)]
    while waiting and len(tree) < nodes:
        _, parent, places, followed = heapq.heappop(waiting)
        if parent != ROOT:
            places = [source.after(tree.tokens[parent]) for source in places]
        wanted = along[followed] if 0 <= followed < len(along) else None
        for found in candidates(places, estimate, wanted):
            node = tree.add(parent, found.token, found.chance, found.source, found.matched, found.share, found.seen)
            on_path = found.token == wanted
            if tree.depths[node] < longest and (on_path or tree.reaches[node] >= least):
                heapq.heappush(waiting, (-tree.reaches[node], node, places, followed + 1 if on_path else -1))
    return tree
