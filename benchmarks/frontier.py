"""Accuracy against tokens, total and sequential, of every policy over the range of its main knob, on recorded pools.

Usage: `python benchmarks/frontier.py POOL [POOL ...] --json RESULT --plot PICTURE.svg`
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from rich.progress import track

from reasonprune.bench.pool import means, orders, replay
from reasonprune.bench.provenance import provenance, write
from reasonprune.engine.pool import RecordedQuestion, read_pool
from reasonprune.policy_options import POLICY_OPTIONS, PolicyOptions, SelfConsistencyOptions

SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 48, 64)
WAVES = (3, 4, 5, 6, 7, 8, 10, 12)


def sweep(policy: str, knob: str, values: tuple[Any, ...], **fixed: Any) -> list[tuple[str, PolicyOptions]]:
    """Label and options for every value of one knob; all that is not named keeps its default."""
    made = [(f"{knob} {value}", POLICY_OPTIONS[policy](**({"n": 64} | fixed | {knob: value}))) for value in values]
    return [(", ".join([label, *(f"{k} {v}" for k, v in fixed.items())]), options) for label, options in made]


SWEEPS = [
    *sweep("self_consistency", "n", SIZES),
    *sweep("adaptive_consistency", "threshold", (0.7, 0.8, 0.9, 0.95)),
    *sweep("adaptive_consistency", "n", (6, 8, 16, 32), threshold=0.8),
    *sweep("esc", "window", (2, 3, 4, 5, 8)),
    *sweep("consensus", "start", WAVES),
    *sweep("deepprune", "start", WAVES),
    *sweep("deepprune", "n", (8, 16, 32)),
    *sweep("deepprune", "confidence", (0.6, 0.95), start=6),
    *sweep("deepprune", "quorum", (0.5, 1.0), start=6),
    *sweep("deepprune", "patience", (1.5, 4.0), start=6),
    *sweep("deepprune", "divided", (2, 6), start=6),
    *sweep("deepprune", "every", (500, 4000), start=6),
]
SLOW = [  # thousands of probes a question: fewer reshuffles
    *sweep("parallel_probe", "stable", (10, 40)),
    *sweep("deepprune", "prefix", (500, 4000, 8000), when="prefix", vote="largest"),
    *sweep("deepprune", "prefix", (8000,), when="prefix", vote="weighted"),
]


def run(pools: dict[str, list[RecordedQuestion]], options: PolicyOptions, reshuffles: int) -> dict[str, Any]:
    """Means a question by pool. `n` of self-consistency is how many traces of a reshuffle of 64 it takes."""

    async def one(questions: list[RecordedQuestion]) -> dict[str, float]:
        runs = [
            await replay(options, question, order)
            for index, question in enumerate(questions)
            for order in orders(question, index, 64, reshuffles, 0)
        ]
        return means(runs)

    return {name: asyncio.run(one(questions)) for name, questions in pools.items()}


def point(by_pool: dict[str, Any], baseline: dict[str, Any]) -> dict[str, float]:
    """The mean over pools, as points above self-consistency at 64 and as shares of its tokens."""

    def total(side: dict[str, Any], key: str) -> float:
        return sum(values[key] for values in side.values())

    return {
        "accuracy": round(total(by_pool, "accuracy") / len(by_pool), 5),
        "points": round(100 * (total(by_pool, "accuracy") - total(baseline, "accuracy")) / len(by_pool), 2),
        "total_share": round(total(by_pool, "total_tokens") / total(baseline, "total_tokens"), 4),
        "sequential_share": round(total(by_pool, "sequential_tokens") / total(baseline, "sequential_tokens"), 4),
    }


def plot(points: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "frontier"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    for axis, key, name in zip(axes, ("total_share", "sequential_share"), ("total", "sequential"), strict=True):
        for policy in dict.fromkeys(point["policy"] for point in points):
            mine = sorted((p for p in points if p["policy"] == policy), key=lambda p: p[key])
            line = "-" if policy == "self_consistency" else ""
            axis.plot([p[key] for p in mine], [p["points"] for p in mine], marker="o", ms=4, ls=line, label=policy)
        axis.set_xscale("log")
        axis.set_ylim(-6, 2)
        axis.axhline(0, color="grey", lw=0.6)
        axis.set_xlabel(f"{name} tokens, share of self-consistency at 64")
    axes[0].set_ylabel("accuracy, points above it")
    axes[1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pools", nargs="+", type=Path)
    parser.add_argument("--reshuffles", type=int, default=64)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--plot", type=Path, required=True)
    arguments = parser.parse_args()
    pools = {path.stem: read_pool(path) for path in arguments.pools}
    few = max(1, arguments.reshuffles // 16)
    plan = [(*entry, arguments.reshuffles) for entry in SWEEPS] + [(*entry, few) for entry in SLOW]
    whole = SelfConsistencyOptions(n=64)
    baseline = {reshuffles: run(pools, whole, reshuffles) for reshuffles in (arguments.reshuffles, few)}
    points = []
    for label, options, reshuffles in track(plan, description="frontier"):
        by_pool = run(pools, options, reshuffles)
        result = {"policy": options.policy, "setting": label, "reshuffles": reshuffles}
        points.append(result | point(by_pool, baseline[reshuffles]) | {"pools": by_pool})
    result = {"n": 64, "baseline": baseline[arguments.reshuffles], "points": points}
    sources = [provenance(0, path) for path in arguments.pools]
    data = [source["data"] for source in sources]
    write(arguments.json, {**result, "provenance": {**sources[0], "data": data}})
    plot(points, arguments.plot)
    print(json.dumps([{k: v for k, v in p.items() if k != "pools"} for p in points], indent=None))


if __name__ == "__main__":
    main()
