"""A synthetic graph on disk: how long it takes to load, how much memory, and how long a question takes.

Films with persons, years and genres, like MetaQA but larger; every answer is known from the way it was made. One genre
is a hub. `python benchmarks/graph_scale.py --triples 10000000 --json benchmarks/results/graph-scale-10m.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

from reasonprune.bench.provenance import provenance, write
from reasonprune.graph.disk import DiskStore, load
from reasonprune.graph.pipeline import PathsOverGraph
from reasonprune.graph.store import Triple
from reasonprune.options import GraphOptions
from reasonprune.sentence_encoder import shared_encoder

EDGES = 8  # triples a film
HUB = 100_000
QUESTIONS: dict[str, Callable[[int], set[str]]] = {
    "who directed [{film}]": lambda film: {director(film)},
    "which movies share the director with [{film}]": lambda film: films_of(film) - {name(film)},
    "in which years were the films directed by the director of [{film}] released": lambda film: {
        str(1900 + other % 120) for other in same_director(film)
    },
    "what genre is [{film}] in": lambda film: {genre(film)},
}


def name(film: int) -> str:
    return f"Film Number {film}"


def director(film: int) -> str:
    return f"Director {film // 5}"


def same_director(film: int) -> range:
    return range(film // 5 * 5, film // 5 * 5 + 5)


def films_of(film: int) -> set[str]:
    return {name(other) for other in same_director(film)}


def genre(film: int) -> str:
    return "Drama" if film < HUB else f"Genre {film % 1000}"


def triples(count: int, seed: int) -> Iterator[Triple]:
    chance = random.Random(seed)
    people = max(10, count // EDGES // 3)
    for film in range(count // EDGES // 5 * 5):
        yield Triple(name(film), "directed_by", director(film))
        yield Triple(name(film), "release_year", str(1900 + film % 120))
        yield Triple(name(film), "has_genre", genre(film))
        yield Triple(name(film), "written_by", f"Writer {chance.randrange(people)}")
        for _ in range(EDGES - 4):
            yield Triple(name(film), "starred_actors", f"Actor {chance.randrange(people)}")


def memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def ask(pipeline: PathsOverGraph, films: list[int]) -> tuple[list[float], int]:
    seconds, right = [], 0
    for film in films:
        for form, expected in QUESTIONS.items():
            began = perf_counter()
            result = await pipeline.answer(form.format(film=name(film)), GraphOptions(store="scale"))
            seconds.append(perf_counter() - began)
            right += bool(result.answers) and result.answers[0].name in expected(film)
    return seconds, right


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--triples", type=int, default=1_000_000)
    parser.add_argument("--films", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.db"
        before, began = memory_mb(), perf_counter()
        stats = load(triples(arguments.triples, arguments.seed), path)
        loaded, load_seconds, size = memory_mb(), perf_counter() - began, path.stat().st_size
        pipeline = PathsOverGraph(DiskStore(path), shared_encoder(), in_threads=False)
        asyncio.run(ask(pipeline, [7]))  # loads the encoder
        chance = random.Random(arguments.seed)
        films = [chance.randrange(arguments.triples // EDGES // 5 * 5) for _ in range(arguments.films)]
        hub = [chance.randrange(min(HUB, arguments.triples // EDGES // 5 * 5)) for _ in range(arguments.films)]
        anywhere, right = asyncio.run(ask(pipeline, films))
        at_hub, right_at_hub = asyncio.run(ask(pipeline, hub))
        result = {
            "triples": stats.triples,
            "entities": stats.entities,
            "largest_degree": stats.largest_degree,
            "file_mb": round(size / 1e6, 1),
            "load_seconds": round(load_seconds, 1),
            "memory_mb": {"before": round(before), "after_load": round(loaded), "after_questions": round(memory_mb())},
            "questions": len(anywhere),
            "hits_at_1_scale": round(right / len(anywhere), 4),
            "seconds_median": round(median(anywhere), 4),
            "seconds_most": round(max(anywhere), 4),
            "hub": {
                "hits_at_1": round(right_at_hub / len(at_hub), 4),
                "seconds_median": round(median(at_hub), 4),
                "seconds_most": round(max(at_hub), 4),
            },
        }
    write(arguments.json, {**result, "provenance": provenance(arguments.seed)})


if __name__ == "__main__":
    main()
