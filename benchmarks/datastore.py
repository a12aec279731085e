"""Time to build a datastore, its size, and the time of a lookup, by number of tokens.

Usage: `python benchmarks/datastore.py --tokens 1000000 --tokens 10000000 --json RESULT`

Synthetic text: token ids of a vocabulary of 150,000 with Zipf's frequencies, a third of it phrases that occur again and
again, as boilerplate does. Ids are above 65,535 as often as the frequencies say.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonprune.bench.provenance import provenance, write
from reasonprune.speculative.datastore import Datastore
from reasonprune.speculative.timing import time_lookups

VOCABULARY = 150_000
DOCUMENT = 2_000
PHRASES, PHRASE = 20_000, 25


def documents(tokens: int, seed: int) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    rank = np.arange(1, VOCABULARY + 1)
    shares = np.cumsum(1 / rank)
    ids = rng.permutation(VOCABULARY)

    def sample(count: int) -> NDArray[np.int64]:
        return ids[np.searchsorted(shares, rng.random(count) * shares[-1])]

    phrases = sample(PHRASES * PHRASE).reshape(PHRASES, PHRASE)
    for _ in range(tokens // DOCUMENT):
        pieces = sample(DOCUMENT).reshape(-1, PHRASE)
        repeated = rng.random(len(pieces)) < 1 / 3
        pieces[repeated] = phrases[rng.zipf(1.3, repeated.sum()) % PHRASES]
        yield pieces.reshape(-1)


def measure(tokens: int, folder: Path, lookups: int, seed: int) -> dict[str, Any]:
    store = Datastore.create(folder, "synthetic", "synthetic", VOCABULARY)
    began = time.perf_counter()
    cpu = time.process_time()
    store.add(documents(tokens, seed))
    build, build_cpu = time.perf_counter() - began, time.process_time() - cpu
    began = time.perf_counter()
    opened = Datastore(folder)
    return {
        "tokens": opened.tokens,
        "segments": len(opened.manifest.segments),
        "bytes": opened.size,
        "build_s": round(build, 2),
        "build_cpu_s": round(build_cpu, 2),
        "open_and_verify_s": round(time.perf_counter() - began, 3),
        "lookup": time_lookups(opened, lookups, seed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, action="append", required=True)
    parser.add_argument("--lookups", type=int, default=2000)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    sizes = []
    for tokens in options.tokens:
        folder = Path(tempfile.mkdtemp(prefix="datastore-"))
        try:
            sizes.append(measure(tokens, folder / "store", options.lookups, 0))
        finally:
            shutil.rmtree(folder)
        print(sizes[-1], flush=True)
    command = "python benchmarks/datastore.py " + " ".join(f"--tokens {tokens}" for tokens in options.tokens)
    write(options.json, {"sizes": sizes, "provenance": {**provenance(0), "command": command}})


if __name__ == "__main__":
    main()
