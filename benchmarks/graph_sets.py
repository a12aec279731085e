"""The question sets of the data folder in one process, every k-th question of each: `bench graph` without its start.

`python benchmarks/graph_sets.py --folder ../shared/data --every pq-3H=10 metaqa-1=4 --out benchmarks/results`.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from reasonprune.bench.graph import DataFormat, GraphConfig, evaluate, read_kb, read_questions
from reasonprune.bench.provenance import provenance, write
from reasonprune.graph.pipeline import PathsOverGraph
from reasonprune.sentence_encoder import shared_encoder

SETS: dict[str, tuple[str, str, DataFormat]] = {
    "pq-2H": ("pathquestion/2H-kb.txt", "pathquestion/PQ-2H.txt", "pathquestion"),
    "pq-3H": ("pathquestion/3H-kb.txt", "pathquestion/PQ-3H.txt", "pathquestion"),
    "metaqa-1": ("metaqa", "metaqa/1-hop.txt", "metaqa"),
    "metaqa-2": ("metaqa", "metaqa/2-hop.txt", "metaqa"),
    "metaqa-3": ("metaqa", "metaqa/3-hop.txt", "metaqa"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--every", nargs="+", required=True, help="SET=K, every K-th question of a set")
    parser.add_argument("--linking", choices=("given", "linked"), default="given")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for pair in arguments.every:
        name, _, every = pair.partition("=")
        kb, data, form = SETS[name]
        questions = read_questions(arguments.folder / data, form)[:: int(every)]
        store = read_kb(arguments.folder / kb, form)
        pipeline = PathsOverGraph(store, shared_encoder(), in_threads=False)
        result = asyncio.run(evaluate(pipeline, questions, GraphConfig(form, linking=arguments.linking)))
        linked = "" if arguments.linking == "given" else "-linked"
        origin = provenance(None, arguments.folder / data)
        write(arguments.out / f"graph-{name}{linked}.json", {**result, "every": int(every), "provenance": origin})
        print(name, result["hits_at_1"], flush=True)


if __name__ == "__main__":
    main()
