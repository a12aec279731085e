"""Which drafts are accepted: estimated before verification, learnt from it, and counted for the account."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reasonprune.speculative.tree import Source, TokenTree

MATCHED = (1, 2, 3, 4, 5, 7, 10, 16)  # lower ends of the classes of match lengths
UNANIMOUS = (1, 2, 4)  # lower ends of the classes of occurrences that all go on in one way
# Chances of what followed the one occurrence of a context, by the class of its length: of 5,000 greedily decoded
# positions of the demo model on half of the prompts of `benchmarks/draft_replay.py`.
OWN_TEXT = (0.3, 0.6, 0.67, 0.77, 0.8, 0.82, 0.9, 0.97)
OTHER_TEXT = (0.14, 0.3, 0.48, 0.55, 0.6, 0.65, 0.84, 0.97)
DISPUTED = 0.55  # of the share, where occurrences disagree
PRIOR_WEIGHT = 16.0  # drafts whose fate is known that the prior counts for
MEMORY = 400.0  # such drafts of a class after which older ones count half


@dataclass(frozen=True)
class DraftToken:
    """One token of a chain that is handed to verification, and what its estimate was made of."""

    token: int
    source: Source
    matched: int
    share: float
    seen: int
    chance: float


def chain_of(tree: TokenTree, nodes: Sequence[int]) -> list[DraftToken]:
    return [draft_of(tree, node) for node in nodes]


def draft_of(tree: TokenTree, node: int) -> DraftToken:
    return DraftToken(
        tree.tokens[node],
        tree.sources[node],
        tree.matched[node],
        tree.shares[node],
        tree.seen[node],
        tree.chances[node],
    )


def prior(source: Source, matched: int, share: float, seen: int) -> float:
    """Before anything was verified: a long context that always went on in one way will do so again."""
    if source is Source.DRAFT:
        return 0.6
    if source is Source.AGREED:
        return 0.85
    alone = (OWN_TEXT if source is Source.REQUEST else OTHER_TEXT)[max(0, bisect_right(MATCHED, matched) - 1)]
    return 1 - (1 - alone) / math.sqrt(max(1, seen)) if share == 1 else DISPUTED * alone * share


class Calibration:
    """The share of drafts that came true by source, length of the match and what followed it, shrunk to the prior."""

    def __init__(self) -> None:
        self._cells: dict[tuple[Source, int, int], list[float]] = {}

    def estimate(self, source: Source, matched: int, share: float, seen: int) -> float:
        """The chance that such a draft token is accepted, once those before it were."""
        accepted, known = self._cells.get(_cell(source, matched, share, seen), (0.0, 0.0))
        return (accepted + PRIOR_WEIGHT * prior(source, matched, share, seen)) / (known + PRIOR_WEIGHT)

    def learn(self, draft: DraftToken, accepted: bool) -> None:
        cell = self._cells.setdefault(_cell(draft.source, draft.matched, draft.share, draft.seen), [0.0, 0.0])
        cell[0] += accepted
        cell[1] += 1
        if cell[1] > MEMORY:
            cell[0] /= 2
            cell[1] /= 2


def _cell(source: Source, matched: int, share: float, seen: int) -> tuple[Source, int, int]:
    """Unanimous occurrences by their number, disputed ones by whether most of them go on so."""
    agreement = bisect_right(UNANIMOUS, seen) if share == 1 else (-1 if share >= 0.5 else -2)
    return source, bisect_right(MATCHED, matched), agreement


@dataclass
class Acceptance:
    """Counts over verification steps. A step is one forward pass of the target that a request took part in."""

    steps: int = 0
    tokens: int = 0
    drafted: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    drafted_at: list[int] = field(default_factory=list)
    accepted_at: list[int] = field(default_factory=list)

    def observe(self, chain: Sequence[DraftToken], accepted: int, tokens: int) -> None:
        """A step that put out `tokens` tokens, `accepted` of them drafts."""
        self.steps += 1
        self.tokens += tokens
        while len(self.drafted_at) < len(chain):
            self.drafted_at.append(0)
            self.accepted_at.append(0)
        for position, draft in enumerate(chain):
            self.drafted[draft.source.label] += 1
            self.drafted_at[position] += 1
            if position < accepted:
                self.accepted[draft.source.label] += 1
                self.accepted_at[position] += 1

    @classmethod
    def of(cls, counts: Mapping[str, Any]) -> Acceptance:
        """The inverse of `as_json`."""
        return cls(
            counts["steps"],
            counts["tokens"],
            Counter(counts["drafted"]),
            Counter(counts["accepted"]),
            list(counts["drafted_at"]),
            list(counts["accepted_at"]),
        )

    def merge(self, other: Acceptance) -> None:
        """Add the counts of `other`."""
        self.steps += other.steps
        self.tokens += other.tokens
        self.drafted += other.drafted
        self.accepted += other.accepted
        for mine, theirs in ((self.drafted_at, other.drafted_at), (self.accepted_at, other.accepted_at)):
            mine += [0] * (len(theirs) - len(mine))
            for position, count in enumerate(theirs):
                mine[position] += count

    @property
    def length(self) -> float:
        """Mean tokens a step; 1 without speculation."""
        return self.tokens / self.steps if self.steps else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "tokens": self.tokens,
            "acceptance_length": round(self.length, 4),
            "drafted": dict(self.drafted),
            "accepted": dict(self.accepted),
            "drafted_at": list(self.drafted_at),
            "accepted_at": list(self.accepted_at),
        }
