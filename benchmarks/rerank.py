"""Reranking of TREC DL19's candidate passages by the pruner's ranking: nDCG@10, beside the base encoder's cosine.

`python benchmarks/rerank.py --data trecdl19 --json RESULT`: the folder holds `rerank.tsv` (query id, passage id, query,
passage, in the order they came) and `qrel.json` (grades 0 to 3). `ours` is what `/v1/rerank` orders by; `head` is its
ranking head alone.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from reasonprune.bench.provenance import provenance, write
from reasonprune.pruner import ContextPruner
from reasonprune.pruner.embedding import Embedder
from reasonprune.pruner.lexical import bm25
from reasonprune.pruner.reading import LateModel, Ranking

DEPTH = 10
Rank = Callable[[str, Sequence[str]], list[float]]


@dataclass(frozen=True)
class Query:
    """A query, its candidates in the order they came, and the grade of every judged passage."""

    text: str
    candidates: dict[str, str]
    grades: dict[str, int]


def read(folder: Path) -> list[Query]:
    """All queries that have a relevant passage."""
    grades = json.loads((folder / "qrel.json").read_text(encoding="utf-8"))
    found: dict[str, Query] = {}
    for line in (folder / "rerank.tsv").read_text(encoding="utf-8").splitlines():
        query, passage, text, candidate = line.split("\t")
        found.setdefault(query, Query(text, {}, grades.get(query, {}))).candidates[passage] = candidate
    return [query for query in found.values() if any(query.grades.values())]


def ndcg(ordered: Sequence[str], grades: dict[str, int]) -> float:
    """At 10, with the grades as gains; the ideal is over all judged passages, both as trec_eval has it."""

    def gain(values: Sequence[int]) -> float:
        return sum(value / math.log2(place + 2) for place, value in enumerate(values[:DEPTH]))

    return gain([grades.get(passage, 0) for passage in ordered]) / gain(sorted(grades.values(), reverse=True))


def value(query: Query, rank: Rank) -> float:
    """nDCG@10 of one query. Equal scores stay in the order they came."""
    scores = dict(zip(query.candidates, rank(query.text, list(query.candidates.values())), strict=True))
    return ndcg(sorted(query.candidates, key=lambda one: -scores[one]), query.grades)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--queries", type=int, help="only the first")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    queries = read(options.data)[: options.queries]
    pruner, embedder = ContextPruner(), Embedder("minilm")
    assert isinstance(pruner.model, LateModel)
    model, ranking = pruner.model, pruner.model.ranking

    def cosine(query: str, passages: Sequence[str]) -> list[float]:
        vectors = embedder.vectors([query, *passages])
        return [float(vectors[query] @ vectors[passage]) for passage in passages]

    def head(query: str, passages: Sequence[str]) -> list[float]:
        model.ranking = Ranking()
        try:
            return pruner.rerank(query, passages)
        finally:
            model.ranking = ranking

    ranks: dict[str, Rank] = {
        "given": lambda _, passages: [0.0] * len(passages),
        "bm25": bm25,
        "minilm": cosine,
        "head": head,
        "ours": pruner.rerank,
    }
    values: dict[str, list[float]] = {name: [] for name in ranks}
    for query in track(queries, "queries"):  # one after the other, so that head and ours share what is kept of texts
        for name, rank in ranks.items():
            values[name].append(value(query, rank))
    methods = {name: {"ndcg_at_10": round(sum(found) / len(found), 4)} for name, found in values.items()}
    result = {
        "queries": len(queries),
        "candidates": max(len(query.candidates) for query in queries),
        "methods": methods,
    }
    write(options.json, {**result, "provenance": provenance(None, options.data / "rerank.tsv")})
    print(methods)


if __name__ == "__main__":
    main()
