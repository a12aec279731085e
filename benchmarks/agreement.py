"""What a forced answer says about a trace's own: among six traces, when the first of them ends, and before.

Usage: `python benchmarks/agreement.py POOL [POOL ...] --json RESULT`
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

from reasonprune.bench.pool import orders
from reasonprune.bench.provenance import provenance, write
from reasonprune.engine.pool import RecordedQuestion, RecordedTrace, read_pool

TRACES = 6
EARLY = (1000, 2000, 4000, 8000)


def forced(trace: RecordedTrace, tokens: int) -> str | None:
    """The last recorded forced answer at or before `tokens`."""
    every = min(trace.probes, default=0)
    return trace.probes.get(tokens // every * every) if every else None


def at_first_finish(order: list[RecordedTrace], counts: dict[str, Counter[str]]) -> None:
    """Running traces whose forced answer is that of the first finished trace, against those whose is another."""
    first = min(order, key=lambda trace: trace.tokens)
    if first.answer is None:
        return
    for trace in order:
        answer = forced(trace, first.tokens) if trace is not first else None
        if answer is not None:
            count = counts["same as the first" if answer == first.answer else "another"]
            count["traces"] += 1
            count["kept"] += trace.answer == answer
            count["ends as the first"] += trace.answer == first.answer


def before(order: list[RecordedTrace], counts: dict[str, Counter[str]]) -> None:
    """Pairs of running traces that are forced to the same answer, by how early."""
    for tokens in EARLY:
        running = [trace for trace in order if trace.tokens > tokens]
        for one, other in combinations(running, 2):
            answer = forced(one, tokens)
            if answer is not None and answer == forced(other, tokens):
                count = counts[f"two running ones alike at {tokens} tokens"]
                count["traces"] += 1
                count["kept"] += one.answer == answer
                count["ends as the first"] += one.answer is not None and one.answer == other.answer


def measure(questions: list[RecordedQuestion], reshuffles: int) -> dict[str, Any]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for index, question in enumerate(questions):
        for order in orders(question, index, TRACES, reshuffles, 0):
            at_first_finish(order, counts)
            before(order, counts)
    return {
        name: {
            "count": count["traces"],
            "keeps_its_forced_answer": round(count["kept"] / count["traces"], 4),
            "ends_as_the_other": round(count["ends as the first"] / count["traces"], 4),
        }
        for name, count in counts.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pools", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    found = {path.stem: measure(read_pool(path), 64) for path in arguments.pools}
    sources = [provenance(0, path) for path in arguments.pools]
    data = [source["data"] for source in sources]
    write(arguments.json, {"pools": found, "provenance": {**sources[0], "data": data}})


if __name__ == "__main__":
    main()
