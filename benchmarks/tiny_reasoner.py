"""How well and how fast TinyReasoner answers: greedy, one sample, majority of 16, tokens a second at 32 traces.

Usage: `python benchmarks/tiny_reasoner.py --json RESULT`
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

from reasonprune.answers import extract_answer
from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.bench.provenance import provenance, write
from reasonprune.bench.sampling import sampling_of
from reasonprune.engine.offline import chat_prompt, open_engine, sampling
from reasonprune.models import resolve

MAX_TOKENS = 512
TEMPERATURE, TOP_P = sampling_of("tiny", None, None)  # the model's own


async def generate(engine: Any, question: Question, name: str, temperature: float, seed: int) -> tuple[str | None, int]:
    """The answer and the length in tokens of one trace."""
    params = sampling(temperature, TOP_P, MAX_TOKENS, seed)
    final = None
    async for output in engine.generate(chat_prompt(engine, question.question, "tiny"), params, name):
        final = output.outputs[0]
    assert final is not None
    return extract_answer(final.text), len(final.token_ids)


async def speed(engine: Any, question: Question) -> float:
    """Tokens per second of 32 traces of 512 tokens each."""
    params = sampling(TEMPERATURE, TOP_P, MAX_TOKENS, None, ignore_eos=True)

    async def one(name: str) -> None:
        async for _ in engine.generate(chat_prompt(engine, question.question, "tiny"), params, name):
            pass

    began = time.perf_counter()
    await asyncio.gather(*(one(f"speed{i}-{began}") for i in range(32)))
    return 32 * MAX_TOKENS / (time.perf_counter() - began)


async def measure(questions: list[Question], n: int, seed: int) -> dict[str, Any]:
    async with open_engine("tiny") as engine:
        for _ in range(2):
            await asyncio.gather(*(generate(engine, questions[0], f"warm{i}", TEMPERATURE, i) for i in range(32)))
        greedy = await asyncio.gather(*(generate(engine, q, f"greedy{i}", 0.0, 0) for i, q in enumerate(questions)))
        speeds = [await speed(engine, questions[0]) for _ in range(4)][1:]
        tokens, votes = 0, list[list[str | None]]()
        for start in range(0, len(questions), 8):
            pair = questions[start : start + 8]
            calls = [
                generate(engine, question, f"{start + j}-{k}", TEMPERATURE, seed + 1000 * (start + j) + k)
                for j, question in enumerate(pair)
                for k in range(n)
            ]
            traces = await asyncio.gather(*calls)
            tokens += sum(length for _, length in traces)
            votes += [[answer for answer, _ in traces[j * n : (j + 1) * n]] for j in range(len(pair))]
    golds = [question.gold for question in questions]
    leaders = [Counter(a for a in answers if a is not None).most_common(1) for answers in votes]
    samples = [a == gold for answers, gold in zip(votes, golds, strict=True) for a in answers]
    count = len(questions)
    return {
        "questions": count,
        "temperature": TEMPERATURE,
        "greedy_accuracy": round(sum(a == gold for (a, _), gold in zip(greedy, golds, strict=True)) / count, 4),
        "sample_accuracy": round(sum(samples) / len(samples), 4),
        f"majority_of_{n}_accuracy": round(
            sum(bool(top) and top[0][0] == gold for top, gold in zip(leaders, golds, strict=True)) / count, 4
        ),
        "tokens_per_trace": round(tokens / len(samples), 1),
        "tokens_per_s_at_32_traces": round(statistics.median(speeds)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    data = Path(resolve("tiny").path) / "test.jsonl"
    result = asyncio.run(measure(read_dataset(data, options.limit), 16, 0))
    gc.collect()
    command = f"python benchmarks/tiny_reasoner.py --limit {options.limit}"
    write(options.json, {**result, "provenance": {**provenance(0, data, "tiny"), "command": command}})
    print(result)


if __name__ == "__main__":
    main()
