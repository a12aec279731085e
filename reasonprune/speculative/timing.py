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
    """Milliseconds (p50, p99, mean) of `count` lookups, half of contexts that occur and half with their last but fourth
    token changed, so that matches are cut short. The first lookups, which bring pages in, are not counted."""
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
    times = []
    for context in contexts:
        began = time.perf_counter()
        store.continuations(context, LENGTH, MOST)
        times.append(1000 * (time.perf_counter() - began))
    times = sorted(times[count // 10 :])
    return {
        "lookups": len(times),
        "p50_ms": round(times[len(times) // 2], 4),
        "p99_ms": round(times[int(len(times) * 0.99)], 4),
        "mean_ms": round(statistics.mean(times), 4),
    }
