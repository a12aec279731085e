"""What the value head costs: tokens a second of sampled traces with the head on and off, in turn, on one engine.

python benchmarks/value_head.py [--rounds 6] [--traces 16]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from pathlib import Path
from typing import Any

from reasonprune.bench.dataset import read_dataset
from reasonprune.bench.provenance import provenance, write
from reasonprune.engine.offline import chat_prompt, open_engine, sampling
from reasonprune.engine.self_eval import load_head, marked
from reasonprune.models import resolve
from reasonprune.selfeval.trained import find

HERE = Path(__file__).parent
EVERY = 16  # tokens between two scores of a trace
TOKENS = 128


async def tokens_per_second(engine: Any, prompts: list[Any], traces: int, head: bool, name: str) -> float:
    """Of `traces` traces of exactly TOKENS tokens, all at once; their scores are fetched at the end."""

    async def one(i: int) -> None:
        params = sampling(0.7, 1.0, TOKENS, i, ignore_eos=True)
        trace = f"{name}-{i}"
        async for _ in engine.generate(
            prompts[i % len(prompts)], marked(params, trace, EVERY) if head else params, trace
        ):
            pass

    began = time.perf_counter()
    await asyncio.gather(*(one(i) for i in range(traces)))
    if head:
        await engine.collective_rpc("fetch_values", args=([f"{name}-{i}" for i in range(traces)], True))
    return traces * TOKENS / (time.perf_counter() - began)


async def measure(rounds: int, traces: int) -> dict[str, Any]:
    path = resolve("tiny").path
    async with open_engine("tiny", kv_cache_memory_bytes=256 << 20) as engine:
        await load_head(engine, find(path, "head"))
        questions = read_dataset(Path(path) / "test.jsonl", traces)
        prompts = [chat_prompt(engine, question.question, "tiny") for question in questions]
        await tokens_per_second(engine, prompts, traces, True, "warm")
        found: list[dict[str, float]] = []
        for i in range(rounds):
            order = (False, True) if i % 2 else (True, False)  # turn about
            speeds = {head: await tokens_per_second(engine, prompts, traces, head, f"{i}-{head}") for head in order}
            found.append({"off": round(speeds[False], 1), "on": round(speeds[True], 1)})
    ratios = [each["on"] / each["off"] for each in found]
    return {
        "model": "tiny",
        "traces": traces,
        "tokens_a_trace": TOKENS,
        "every": EVERY,
        "rounds": found,
        "ratio": round(statistics.median(ratios), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--traces", type=int, default=16)
    arguments = parser.parse_args()
    result = asyncio.run(measure(arguments.rounds, arguments.traces))
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart
    write(HERE / "results" / "value-head.json", {**result, "provenance": provenance(None, None, "tiny")})


if __name__ == "__main__":
    main()
