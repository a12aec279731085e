"""How good scores of traces are: whether they rank right ones above wrong ones, and can be taken at their value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BUCKETS = 10


def reliability(scores: Sequence[float], right: Sequence[float]) -> list[dict[str, float]]:
    """Ten buckets of equal width: mean score, share that is right, and count; empty ones are left out.

    `right` may be soft, 0 to 1.
    """
    rows: list[list[int]] = [[] for _ in range(BUCKETS)]
    for i, score in enumerate(scores):
        rows[min(int(score * BUCKETS), BUCKETS - 1)].append(i)
    return [
        {
            "score": round(sum(scores[i] for i in row) / len(row), 4),
            "right": round(sum(right[i] for i in row) / len(row), 4),
            "count": len(row),
        }
        for row in rows
        if row
    ]


def ece(scores: Sequence[float], right: Sequence[float]) -> float | None:
    """Expected calibration error over the buckets of `reliability`; None without scores."""
    rows = reliability(scores, right)
    total = sum(row["count"] for row in rows)
    return sum(row["count"] * abs(row["score"] - row["right"]) for row in rows) / total if total else None


def score_figures(scores: Sequence[float], right: Sequence[bool], questions: Sequence[int]) -> dict[str, Any]:
    """AUROC pooled and within questions, ECE and the reliability rows; scores that are no numbers are left out."""
    from reasonprune.bench.judging import auroc, auroc_within, rounded

    sound = [i for i, score in enumerate(scores) if math.isfinite(score)]
    scores = [scores[i] for i in sound]
    right, questions = [right[i] for i in sound], [questions[i] for i in sound]
    within, both = auroc_within(scores, right, questions)
    return {
        "auroc_pooled": rounded(auroc(scores, right)),
        "auroc_within": rounded(within),
        "ece": rounded(ece(scores, right)),
        "traces": len(scores),
        "right_share": rounded(sum(right) / len(right)) if right else None,
        "questions": len(set(questions)),
        "questions_with_both": both,
        "reliability": reliability(scores, right),
    }


def plot_reliability(rows_by_name: dict[str, list[dict[str, float]]], out: Path) -> bool:
    """An SVG of reliability rows, curve by curve; False where matplotlib (the extra `bench`) is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "reasonprune"  # the same figures give the same file
    figure, axes = pyplot.subplots(figsize=(4.5, 4.5))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for name, rows in rows_by_name.items():
        axes.plot([row["score"] for row in rows], [row["right"] for row in rows], marker="o", label=name)
    axes.set_xlabel("score")
    axes.set_ylabel("share that is right")
    axes.legend(title="share of the trace")
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None})
    pyplot.close(figure)
    return True
