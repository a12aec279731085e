"""What each part of graph pruning without a model is worth: the same questions with one part off.

`python benchmarks/graph_ablation.py --kb KB --data FILE --format pathquestion --every 10 --json out.json` takes every
tenth question. `cosine alone` ranks paths by the similarity of question and path as whole texts, and by nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
from pathlib import Path
from typing import Any

from reasonprune.bench.graph import GraphConfig, evaluate, read_kb, read_questions
from reasonprune.bench.provenance import provenance, write
from reasonprune.graph.alignment import Weights
from reasonprune.graph.pipeline import PathsOverGraph
from reasonprune.graph.thesaurus import EMPTY
from reasonprune.sentence_encoder import shared_encoder

NOTHING = {field.name: 0.0 for field in dataclasses.fields(Weights)} | {"low": 0.45, "high": 0.85}
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "all parts": ({}, {}),
    "cosine alone": ({"weights": Weights(**NOTHING | {"whole": 1.0})}, {}),
    "no table of words": ({"thesaurus": EMPTY}, {}),
    "no cosine of whole texts": ({"weights": Weights(whole=0.0)}, {}),
    "no kinds of answer": ({"weights": Weights(kind=0.0, wrong_kind=0.0, ill_typed=0.0)}, {}),
    "unused words free": ({"weights": Weights(unused=0.0)}, {}),
    "beam of 10 paths": ({}, {"width": 10}),
    "beam of 3 paths": ({}, {"width": 3}),
    "no branch reduction": ({}, {"branches": 80}),
    "one path kept": ({}, {"max_paths": 1}),
    "depth 2": ({}, {"depth": 2}),
    "depth 4": ({}, {"depth": 4}),
}
SHOWN = ("hits_at_1", "hits_at_3", "answer_recall", "paths_considered", "paths_kept", "seconds_per_question")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kb", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--format", choices=("pathquestion", "metaqa"), required=True)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    store = read_kb(arguments.kb, arguments.format)
    questions = read_questions(arguments.data, arguments.format)[:: arguments.every]
    plain = PathsOverGraph(store, shared_encoder(), in_threads=False)
    # The texts of all questions are embedded here, so that the first variant does not pay for the others.
    asyncio.run(evaluate(plain, questions, GraphConfig(arguments.format, options={"depth": 4})))
    rows = {}
    for name, (parts, options) in VARIANTS.items():
        pipeline = PathsOverGraph(store, shared_encoder(), in_threads=False, **parts)
        result = asyncio.run(evaluate(pipeline, questions, GraphConfig(arguments.format, options=options)))
        rows[name] = {key: result[key] for key in SHOWN}
        print(name, rows[name], flush=True)
    result = {"questions": len(questions), "every": arguments.every, "variants": rows}
    write(arguments.json, {**result, "provenance": provenance(None, arguments.data)})


if __name__ == "__main__":
    main()
