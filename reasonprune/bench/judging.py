"""How well scores of pairs tell pairs with the same final answer from the others.

Positive is "same answer", as in DeepPrune (arXiv 2510.08483). Pooled figures mix easy and hard questions: an oracle
that knows each question's difficulty and no trace reaches about what the paper reports. So AUROC is given within
questions, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

MAX_FNR = 0.2


def auroc(scores: Sequence[float], same: Sequence[bool]) -> float | None:
    """Over all pairs together; None where only one class occurs."""
    return float(roc_auc_score(same, scores)) if len(set(same)) == 2 else None


def auroc_within(scores: Sequence[float], same: Sequence[bool], questions: Sequence[int]) -> tuple[float | None, int]:
    """The mean over questions that have both classes, each by its own pairs; and how many questions these are.

    `questions[i]` is the question of pair i.
    """
    rows: dict[int, list[int]] = {}
    for i, question in enumerate(questions):
        rows.setdefault(question, []).append(i)
    each = [auroc([scores[i] for i in of_one], [same[i] for i in of_one]) for of_one in rows.values()]
    defined = [value for value in each if value is not None]
    return (sum(defined) / len(defined) if defined else None), len(defined)


def tnr_at_fnr(scores: Sequence[float], same: Sequence[bool], fnr: float = MAX_FNR) -> float | None:
    """The largest true-negative rate of a threshold whose false-negative rate is `fnr` at most; None for one class."""
    if len(set(same)) < 2:
        return None
    false_positive, true_positive, _ = roc_curve(same, scores, drop_intermediate=False)
    # Rates are fractions of counts: one that is 0.8 but for its last bit is meant to count.
    return float(1 - false_positive[true_positive >= 1 - fnr - 1e-9].min())


def difficulty_oracle(same: Sequence[bool], questions: Sequence[int]) -> list[float]:
    """Every pair's score is its question's share of same-answer pairs; within questions it is worth nothing, 0.5."""
    kind, where = np.unique(np.asarray(questions), return_inverse=True)
    shares: NDArray[np.float64] = np.bincount(where, np.asarray(same, dtype=float)) / np.bincount(where)
    return [float(share) for share in shares[where]] if len(kind) else []


def figures(scores: Sequence[float], same: Sequence[bool], questions: Sequence[int]) -> dict[str, Any]:
    """All of these for one judge, with the counts that they rest on."""
    within, both = auroc_within(scores, same, questions)
    return {
        "auroc_pooled": rounded(auroc(scores, same)),
        "auroc_within": rounded(within),
        "tnr_at_fnr_20": rounded(tnr_at_fnr(scores, same)),
        "pairs": len(same),
        "same_answer_share": rounded(sum(same) / len(same)) if same else None,
        "questions": len(set(questions)),
        "questions_with_both": both,
    }


def rounded(value: float | None) -> float | None:
    """To four decimals; None stays None."""
    return None if value is None else round(float(value), 4)
