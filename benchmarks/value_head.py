"""What the value head costs: sampled traces with the head on and off, in turn, on one engine.

Seconds on the clock, and CPU seconds of engine and client, which other work on the machine hardly changes.

python benchmarks/value_head.py [--model tiny] [--data FILE] [--head FOLDER] [--rounds 6] [--traces 16] --json RESULT
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from pathlib import Path
from typing import Any

import psutil  # comes with vLLM

from reasonprune.bench.dataset import read_dataset
from reasonprune.bench.provenance import provenance, write
from reasonprune.engine.offline import chat_prompt, open_engine, sampling
from reasonprune.engine.self_eval import load_head, marked
from reasonprune.models import resolve
from reasonprune.selfeval.trained import find

EVERY = 16  # tokens between two scores of a trace
TOKENS = 128


def cpu_seconds() -> float:
    """Of this process and all below it, so far."""
    me = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (me, *me.children(recursive=True)))


async def one_side(engine: Any, prompts: list[Any], traces: int, head: bool, name: str) -> dict[str, float]:
    """`traces` traces of exactly TOKENS tokens, all at once; their scores are fetched at the end."""

    async def one(i: int) -> None:
        params = sampling(0.7, 1.0, TOKENS, i, ignore_eos=True)
        trace = f"{name}-{i}"
        async for _ in engine.generate(
            prompts[i % len(prompts)], marked(params, trace, EVERY) if head else params, trace
        ):
            pass

    cpu, began = cpu_seconds(), time.perf_counter()
    await asyncio.gather(*(one(i) for i in range(traces)))
    if head:
        await engine.collective_rpc("fetch_values", args=([f"{name}-{i}" for i in range(traces)], True))
    return {"seconds": round(time.perf_counter() - began, 3), "cpu_seconds": round(cpu_seconds() - cpu, 3)}


async def measure(model: str, data: Path, folder: Path, rounds: int, traces: int) -> dict[str, Any]:
    async with open_engine(model, kv_cache_memory_bytes=256 << 20) as engine:
        await load_head(engine, folder)
        prompts = [chat_prompt(engine, question.question, model) for question in read_dataset(data, traces)]
        for head in (False, True):
            await one_side(engine, prompts, traces, head, f"warm-{head}")
        found: list[dict[str, dict[str, float]]] = []
        for i in range(rounds):
            order = (False, True) if i % 2 else (True, False)  # turn about
            sides = {head: await one_side(engine, prompts, traces, head, f"{i}-{head}") for head in order}
            found.append({"off": sides[False], "on": sides[True]})

    def ratio(key: str) -> float:
        """Throughput with the head on, of that with it off: median over the rounds."""
        return round(statistics.median(each["off"][key] / each["on"][key] for each in found), 4)

    return {
        "model": model,
        "traces": traces,
        "tokens_a_trace": TOKENS,
        "every": EVERY,
        "ratio": ratio("seconds"),
        "cpu_ratio": ratio("cpu_seconds"),
        "rounds": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--data", type=Path, help="questions; unset: TinyReasoner's own")
    parser.add_argument("--head", type=Path, help="unset: the one found for the model")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--traces", type=int, default=16)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    model, rounds, traces = arguments.model, arguments.rounds, arguments.traces
    path = resolve(model).path
    data = arguments.data or Path(resolve("tiny").path) / "test.jsonl"
    result = asyncio.run(measure(model, data, find(path, "head", arguments.head), rounds, traces))
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart
    write(arguments.json, {**result, "provenance": provenance(None, data, model)})


if __name__ == "__main__":
    main()
