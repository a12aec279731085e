"""How well and how fast TinyReasoner answers: greedy, one sample, majority of 16, tokens a second at 32 traces.

Usage: `python benchmarks/tiny_reasoner.py --json RESULT`
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from reasonprune.answers import extract_answer
from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.bench.provenance import provenance, write
from reasonprune.bench.sampling import sampling_of
from reasonprune.engine.chat import prompt_ids
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


def speeds(questions: list[Question], n: int, rounds: int) -> list[float]:
    """Tokens per second of vLLM as it comes, compiled, 32 of the model's own traces at a time; one figure a round."""
    from vllm import LLM, SamplingParams

    uniproc: Any = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
    model = resolve("tiny").path
    llm = LLM(model, max_model_len=1024, max_num_seqs=32, distributed_executor_backend=uniproc)
    turns = ([{"role": "user", "content": question.question}] for question in questions)
    prompts: list[Any] = [
        {"prompt_token_ids": prompt_ids(llm.get_tokenizer(), turn)} for turn in turns for _ in range(n)
    ]
    params = SamplingParams(temperature=TEMPERATURE, top_p=TOP_P, max_tokens=MAX_TOKENS)
    found = []
    for _ in range(rounds + 1):  # the first warms up
        began = time.perf_counter()
        outputs = llm.generate(prompts, params, use_tqdm=False)
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        found.append(tokens / (time.perf_counter() - began))
    return found[1:]


def speeds_alone() -> list[float]:
    """`speeds` in a process of its own, so that no other engine is in the way."""
    environment = os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    environment.pop("TORCH_COMPILE_DISABLE", None)
    command = [sys.executable, __file__, "--speeds"]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: list[float] = json.loads(output.splitlines()[-1])
    return found


async def measure(questions: list[Question], n: int, seed: int) -> dict[str, Any]:
    async with open_engine("tiny") as engine:
        for _ in range(2):
            await asyncio.gather(*(generate(engine, questions[0], f"warm{i}", TEMPERATURE, i) for i in range(32)))
        greedy = await asyncio.gather(*(generate(engine, q, f"greedy{i}", 0.0, 0) for i, q in enumerate(questions)))
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
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--speeds", action="store_true", help="print speeds only, a JSON list")
    options = parser.parse_args()
    data = Path(resolve("tiny").path) / "test.jsonl"
    if options.speeds:
        print(json.dumps(speeds(read_dataset(data, 32), 16, 5)))
        return
    if options.json is None:
        parser.error("say where the result goes: --json RESULT")
    found = speeds_alone()
    result = asyncio.run(measure(read_dataset(data, options.limit), 16, 0))
    gc.collect()
    result |= {
        "tokens_per_s_at_32_traces": round(statistics.median(found)),
        "tokens_per_s_by_round": [round(speed) for speed in found],
    }
    write(options.json, {**result, "provenance": provenance(0, data, "tiny")})
    print(result)


if __name__ == "__main__":
    main()
