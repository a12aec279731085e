"""HumanEval with written-out reasoning: does the model's code still pass when steps of its reasoning are left out?

Usage: `python benchmarks/cot_code.py --data HumanEval.jsonl --chains CHAINS --json RESULT`

The demo model first says how it would solve the task, without code; then it writes the function after its full
reasoning, after reasoning cut by every method, and after none. Code runs against the tests in a guarded process.
Chains and verdicts are kept in CHAINS as they come, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
from pathlib import Path
from typing import Any

from reasonprune.bench.guarded import run_guarded
from reasonprune.bench.provenance import provenance, write
from reasonprune.cot.compressor import Chain, Method, compress
from reasonprune.engine.backend import LocalBackend
from reasonprune.engine.chat import prompt_ids
from reasonprune.engine.offline import sampling

ASK = """Complete this Python function.

```python
{prompt}```

First explain step by step, in short paragraphs and without code, how you would do it. Then write the whole function \
in one code block."""
FENCE = "\n\n```python\n"
CODE_TOKENS = 256
METHODS: tuple[Method, ...] = ("asap", "first_token_only", "perplexity", "random", "last_k")


async def generate(backend: LocalBackend, ids: list[int], tokens: int, stop: str, name: str) -> str:
    engine = await backend.engine()
    params = sampling(0.0, 1.0, tokens, None, stop=[stop])
    prompt = {"type": "token", "prompt_token_ids": ids}
    final = None
    async for output in engine.generate(prompt, params, name):
        final = output.outputs[0]
    assert final is not None
    return str(final.text)


class Kept:
    """Chains by task and verdicts by task and reasoning, of this run and its predecessors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chains: dict[str, str] = {}
        self.passed: dict[tuple[str, str], bool] = {}
        for row in map(json.loads, path.read_text().splitlines() if path.exists() else []):
            self._remember(row)

    def add(self, row: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self._remember(row)

    def _remember(self, row: dict[str, Any]) -> None:
        if "chain" in row:
            self.chains[row["task_id"]] = row["chain"]
        else:
            self.passed[row["task_id"], row["reasoning"]] = row["passed"]


async def measure(tasks: list[dict[str, Any]], budgets: list[float], chains: Path) -> dict[str, Any]:
    kept = Kept(chains)
    async with LocalBackend("demo") as backend:
        tokenizer = await backend.tokenizer()
        gate = asyncio.Semaphore(16)

        async def code(task: dict[str, Any], reasoning: str, name: str) -> bool:
            key = task["task_id"], reasoning
            if key in kept.passed:
                return kept.passed[key]
            ids = prompt_ids(tokenizer, [{"role": "user", "content": ASK.format(prompt=task["prompt"])}])
            ids += tokenizer.encode(reasoning.rstrip() + FENCE, add_special_tokens=False)
            async with gate:
                written = await generate(backend, ids, CODE_TOKENS, "```", name)
            program = f"{task['prompt']}    pass\n\n{written}\n\n{task['test']}\n\ncheck({task['entry_point']})\n"
            passed = (await asyncio.to_thread(run_guarded, program)).passed
            kept.add({"task_id": key[0], "reasoning": reasoning, "passed": passed})
            return passed

        async def one(task: dict[str, Any]) -> dict[str, Any] | None:
            messages = [{"role": "user", "content": ASK.format(prompt=task["prompt"])}]
            name = task["task_id"]
            if name not in kept.chains:
                async with gate:
                    text = await generate(backend, prompt_ids(tokenizer, messages), 320, "```", f"{name}-chain")
                kept.add({"task_id": name, "chain": text})
            chain = Chain(kept.chains[name].strip(), task["prompt"])
            if not chain.text:
                return None
            scores = await backend.score(messages, "", chain.text)
            found = {(m, b): compress(chain, scores, b, m, seed=len(name)) for m in METHODS for b in budgets}
            texts = list(dict.fromkeys([chain.text, "", *(result.text for result in found.values())]))
            passed = await asyncio.gather(*(code(task, text, f"{name}-{i}") for i, text in enumerate(texts)))
            verdict = dict(zip(texts, passed, strict=True))
            return {
                "full": verdict[chain.text],
                "without": verdict[""],
                "cells": {key: (r, verdict[r.text]) for key, r in found.items()},
            }

        rows = [row for row in await asyncio.gather(*(one(task) for task in tasks)) if row is not None]
    methods: dict[str, dict[str, Any]] = {}
    for method in METHODS:
        methods[method] = {}
        for budget in budgets:
            cells = [(row["full"], *row["cells"][method, budget]) for row in rows]
            methods[method][f"{budget:g}"] = {
                "kept": round(sum(r.kept_tokens for _, r, _ in cells) / sum(r.tokens for _, r, _ in cells), 4),
                "accuracy": round(sum(ok for _, _, ok in cells) / len(cells), 4),
                "agreement": round(sum(full == ok for full, _, ok in cells) / len(cells), 4),
            }
    full, without = (round(sum(row[side] for row in rows) / len(rows), 4) for side in ("full", "without"))
    return {
        "model": "demo",
        "tasks": len(rows),
        "accuracy_with_full_reasoning": full,
        "accuracy_without_reasoning": without,
        "methods": methods,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--chains", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--budgets", default="0.3,0.5,0.7")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    tasks = [json.loads(line) for line in options.data.read_text().splitlines()][: options.limit]
    result = asyncio.run(measure(tasks, [float(b) for b in options.budgets.split(",")], options.chains))
    gc.collect()
    write(options.json, {**result, "provenance": provenance(0, options.data, "demo")})
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
