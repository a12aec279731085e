"""Which drafts are accepted: estimated before verification, learnt from it, and counted for the account."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reasonprune.speculative.tree import Source, TokenTree

MATCHED = (1, 2, 3, 4, 5, 7, 10, 16)  # lower ends of the classes of match lengths
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
PRIOR_WEIGHT = 4.0  # verified drafts that the prior counts for
MEMORY = 400.0  # verified drafts of a class after which older ones count half


@dataclass(frozen=True)
class DraftToken:
    """One token of a chain that is handed to verification, and what its estimate was made of."""

    token: int
    source: Source
    matched: int
    share: float
    chance: float


def chain_of(tree: TokenTree, nodes: Sequence[int]) -> list[DraftToken]:
    return [
        DraftToken(tree.tokens[node], tree.sources[node], tree.matched[node], tree.shares[node], tree.chances[node])
        for node in nodes
    ]


def prior(source: Source, matched: int, share: float) -> float:
    """Before anything was verified: a long context that always went on in one way will do so again."""
    if source is Source.DRAFT:
        return 0.6
    if source is Source.AGREED:
        return 0.85
    return 0.95 * share * (1 - 0.6**matched)


class Calibration:
    """The share of accepted drafts by source, length of the match and share of occurrences, shrunk to the prior."""

    def __init__(self) -> None:
        self._cells: dict[tuple[Source, int, int], list[float]] = {}

    def estimate(self, source: Source, matched: int, share: float) -> float:
        """The chance that such a draft token is accepted, once those before it were."""
        accepted, seen = self._cells.get(_cell(source, matched, share), (0.0, 0.0))
        return (accepted + PRIOR_WEIGHT * prior(source, matched, share)) / (seen + PRIOR_WEIGHT)

    def learn(self, draft: DraftToken, accepted: bool) -> None:
        cell = self._cells.setdefault(_cell(draft.source, draft.matched, draft.share), [0.0, 0.0])
        cell[0] += accepted
        cell[1] += 1
        if cell[1] > MEMORY:
            cell[0] /= 2
            cell[1] /= 2


def _cell(source: Source, matched: int, share: float) -> tuple[Source, int, int]:
    return source, bisect_right(MATCHED, matched), bisect_right(SHARES, share)


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
