"""From token probabilities to the units that stay: pure decisions, in the three roundings that were published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reasonprune.pruner.sentences import Unit

Rounding = Literal["mean", "votes", "majority"]
"""How a sentence's value comes from the keep probabilities of its tokens, before it is compared with the threshold T:

`mean`: their mean (OpenProvence; the default). `votes`: the share of tokens above one half (Provence's released code).
`majority`: 1 where more than half of its tokens are above T, else 0 (Provence's paper).
"""


def value_of(probabilities: Sequence[float], rounding: Rounding, threshold: float) -> float:
    """The value of a sentence, 0 to 1; 0 for one without tokens, which is white space."""
    if not probabilities:
        return 0.0
    if rounding == "mean":
        return sum(probabilities) / len(probabilities)
    if rounding == "votes":
        return sum(p > 0.5 for p in probabilities) / len(probabilities)
    return float(sum(p > threshold for p in probabilities) > len(probabilities) / 2)


@dataclass(frozen=True)
class Calibration:
    """How a model's sentence values are brought to where its threshold is meant, by their log odds l.

    With m = l + lexical * (BM25 of the sentence) + lead of its document, the calibrated log odds are
    scale * (m + contrast * (m - best)) + shift, where best is the highest m among all documents of the question: what
    is far behind the best sentence counts less, and the best itself counts as much as it does alone.

    The lead of a document is between * (its ranking logit - the highest of the others), at most `lead`, and nothing
    for a document alone: of several documents, those that do not answer lose their sentences, and one that stands out
    may keep more of its own than it could if nothing were known but itself.
    """

    scale: float = 1.0
    shift: float = 0.0
    contrast: float = 0.0
    lexical: float = 0.0
    between: float = 0.0
    lead: float = 0.0

    def applied(
        self,
        documents: Sequence[Sequence[float]],
        bm25: Sequence[Sequence[float]] | None = None,
        ranks: Sequence[float | None] = (),
    ) -> list[list[float]]:
        """The values of all sentences of one question's documents, calibrated.

        `bm25` has the same shape; `ranks` holds each document's ranking logit, None for one that was not judged.
        """
        if self == Calibration():
            return [list(values) for values in documents]
        scores = bm25 or [[0.0] * len(values) for values in documents]
        leads = self.leads(ranks) if ranks else [0.0] * len(documents)
        mixed = [
            [log_odds(value) + self.lexical * score + ahead for value, score in zip(values, own, strict=True)]
            for values, own, ahead in zip(documents, scores, leads, strict=True)
        ]
        best = max((one for row in mixed for one in row), default=0.0)
        return [
            [probability(self.scale * (one + self.contrast * (one - best)) + self.shift) for one in row]
            for row in mixed
        ]

    def leads(self, ranks: Sequence[float | None]) -> list[float]:
        """What each document's sentences gain or lose by the ranking of all documents."""
        judged = sorted((rank for rank in ranks if rank is not None), reverse=True)
        if len(judged) < 2 or not self.between:
            return [0.0] * len(ranks)
        first, second = judged[:2]
        others = [second if rank == first else first for rank in ranks]
        return [
            0.0 if rank is None else min(self.lead, self.between * (rank - other))
            for rank, other in zip(ranks, others, strict=True)
        ]


def log_odds(value: float) -> float:
    """The inverse of `probability`, within bounds."""
    value = min(max(value, 1e-9), 1 - 1e-9)
    return math.log(value / (1 - value))


def probability(odds: float) -> float:
    """The logistic function, which no input makes overflow."""
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, odds))))


def kept(values: Sequence[float], threshold: float, units: Sequence[Unit], title: int | None = None) -> list[bool]:
    """Which units stay: those above the threshold, and what they bring along.

    A kept table row brings its header; `title` is the index of a unit that stays as soon as any other does.
    """
    keep = [value > threshold for value in values]
    if title is not None and any(keep):
        keep[title] = True
    for i, unit in enumerate(units):
        if keep[i]:
            for head in unit.heads:
                keep[head] = True
    return keep


def spans_of(units: Sequence[Unit], keep: Sequence[bool]) -> list[tuple[int, int]]:
    """Stretches of kept units as (start, end) in characters; neighbours are one stretch."""
    spans: list[tuple[int, int]] = []
    for unit, stays in zip(units, keep, strict=True):
        if not stays:
            continue
        if spans and spans[-1][1] == unit.start:
            spans[-1] = (spans[-1][0], unit.end)
        else:
            spans.append((unit.start, unit.end))
    return spans


def joined(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The stretches as one text: each an exact substring but for white space at its ends.

    Between two of them stands what white space the gap had: a blank line, a line break, a space, or nothing (as
    between Chinese sentences). What begins or ends the text keeps the white space it had there.
    """
    if not spans:
        return ""
    parts = []
    for i, (start, end) in enumerate(spans):
        piece = text[start:end]
        if i + 1 == len(spans):
            parts.append(piece if end == len(text) else piece.rstrip())
            break
        stripped = piece.rstrip()
        parts.append(stripped + _separator(text[start + len(stripped) : spans[i + 1][0]]))
    return "".join(parts)


def _separator(gap: str) -> str:
    lines = [line.strip() for line in gap.split("\n")]
    if len(lines) > 2 and "" in lines[1:-1]:
        return "\n\n"
    if len(lines) > 1:
        return "\n"
    return " " if any(map(str.isspace, gap)) else ""
