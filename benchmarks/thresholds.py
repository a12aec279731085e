"""How DeepPrune moves with its threshold tau, by judge, on a recorded pool with texts.

Only questions that the shipped head has not seen in training. Clustering at a prefix, as published, and judging at
every ending; beside them self-consistency. Usage: `python benchmarks/thresholds.py POOL --json RESULT`
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from rich.progress import track

from reasonprune.bench.pool import means, orders, replay
from reasonprune.bench.provenance import provenance, write
from reasonprune.engine.pool import RecordedQuestion
from reasonprune.judges.head import SHIPPED, describe
from reasonprune.policy_options import DeepPruneOptions, PolicyOptions, SelfConsistencyOptions
from reasonprune.train.pairs import read_questions

THRESHOLDS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
COSINES = (0.9, 0.94, 0.96, 0.97, 0.98, 0.99)  # of one question's texts, mapped to 0 to 1
SIZES = (1, 2, 4, 6, 8, 12, 16)


def plan(n: int, prefix: int) -> list[tuple[str, float | None, PolicyOptions]]:
    """Way, tau and options of every point."""
    points: list[tuple[str, float | None, PolicyOptions]] = [
        (f"self_consistency, n {size}", None, SelfConsistencyOptions(n=size)) for size in SIZES if size <= n
    ]
    for judge, thresholds in (("encoder", THRESHOLDS), ("cosine", COSINES)):
        for tau in thresholds:
            common: dict[str, Any] = {"n": n, "judge": judge, "threshold": tau}
            # A quarter of the traces is finished: the paper's 20 would be all of them.
            early = DeepPruneOptions(when="prefix", prefix=prefix, finish=max(1, n // 4), **common)
            points.append((f"{judge}, at {prefix} tokens", tau, early))
            points.append((f"{judge}, at every ending", tau, DeepPruneOptions(**common)))
    return points


async def measure(questions: list[RecordedQuestion], options: PolicyOptions, n: int, reshuffles: int) -> dict[str, Any]:
    runs = [
        await replay(options, question, order)
        for index, question in enumerate(questions)
        for order in orders(question, index, n, reshuffles, 0)
    ]
    return means(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--prefix", type=int, default=60, help="tokens")
    parser.add_argument("--reshuffles", type=int, default=2)
    parser.add_argument("--limit", type=int, help="only the first questions that the head has not seen")
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    n = arguments.n
    seen = set(describe(SHIPPED)["training"]["seen"])
    questions = [q.recorded for q in read_questions(arguments.pool) if q.digest not in seen]
    questions = [question for question in questions if len(question.traces) >= n][: arguments.limit]
    points = []
    for way, tau, options in track(plan(n, arguments.prefix), description="thresholds"):
        measured = asyncio.run(measure(questions, options, n, arguments.reshuffles))
        points.append({"way": way, "threshold": tau, **measured})
    whole = next(point for point in points if point["way"] == f"self_consistency, n {n}")
    for point in points:
        for kind in ("total", "sequential"):
            point[f"{kind}_share"] = round(point[f"{kind}_tokens"] / whole[f"{kind}_tokens"], 4)
    result = {"n": n, "file": arguments.pool.name, "questions": len(questions), "points": points}
    write(arguments.json, {**result, "provenance": provenance(0, arguments.pool)})


if __name__ == "__main__":
    main()
