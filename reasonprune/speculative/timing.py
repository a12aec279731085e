"""How long a datastore takes to answer."""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from reasonprune.speculative.datastore import Datastore
from reasonprune.speculative.segment import DEPTH, SEPARATOR

LENGTH, MOST = 12, 8  # as drafting asks


def time_lookups(store: Datastore, count: int, seed: int = 0) -> dict[str, Any]:
    """Milliseconds (p50, p99, mean) of `count` lookups: wall-clock, and `cpu_*` of this thread alone.

    Half are of contexts that occur, half have their fourth token from the end changed, so that matches are cut short.
    The first lookups, which bring pages in, are not counted.
    """
    rng = random.Random(seed)
    contexts: list[list[int]] = []
    segments = store.manifest.segments
    words = {name: segment.words for name, segment in store.open_segments.items()}
    while len(contexts) < count + count // 10:
        text = words[rng.choices(segments, [segment.words for segment in segments])[0].file]
        end = rng.randrange(DEPTH, len(text))
        context = text[max(0, end - DEPTH) : end].tolist()
        if len(contexts) % 2 and len(context) > 4:
            context[-4] = rng.randrange(store.manifest.vocabulary)
        if context[-1] != SEPARATOR:
            contexts.append(context)
    walls, cpus = [], []
    for context in contexts:
        began, cpu = time.perf_counter(), time.thread_time()
        store.continuations(context, LENGTH, MOST)
        cpus.append(1000 * (time.thread_time() - cpu))
        walls.append(1000 * (time.perf_counter() - began))
    skipped = count // 10
    return {"lookups": count, **_quantiles(walls[skipped:], ""), **_quantiles(cpus[skipped:], "cpu_")}


def _quantiles(times: list[float], prefix: str) -> dict[str, float]:
    ordered = sorted(times)
    return {
        f"{prefix}p50_ms": round(ordered[len(ordered) // 2], 4),
        f"{prefix}p99_ms": round(ordered[int(len(ordered) * 0.99)], 4),
        f"{prefix}mean_ms": round(statistics.mean(ordered), 4),
    }
