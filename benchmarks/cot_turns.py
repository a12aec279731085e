"""Conversations of six turns with reasoning kept, plain and with `history`: prompt tokens, prefill and cache hits.

Usage: `python benchmarks/cot_turns.py --json RESULT`

TinyReasoner solves a new problem in every turn; its chat template keeps earlier reasoning. Both sides get the same
problems and answer greedily. Prefill is what the engine must compute: prompt tokens that are not in its prefix cache.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.bench.provenance import provenance, write
from reasonprune.cot.history import History
from reasonprune.engine.backend import EngineBackend
from reasonprune.engine.chat import prompt_ids
from reasonprune.engine.offline import open_engine, sampling
from reasonprune.models import resolve

TURNS = 6
MAX_TOKENS = 110
BLOCK = 32  # the smallest that attention on CPUs takes; small ones show what the cache can hold of short turns


async def converse(engine: Any, questions: Sequence[Question], budget: float | None, name: str) -> dict[str, int]:
    """One conversation; `salt` keeps the two sides out of each other's cache."""
    history = History(EngineBackend(engine, f"{name}-score", salt=name))
    messages: list[dict[str, Any]] = []
    totals = {"prompt": 0, "cached": 0, "generated": 0, "last_prompt": 0, "recorded": 0, "scored": 0}
    for number, question in enumerate(questions):
        messages.append({"role": "user", "content": question.question})
        sent = messages
        if budget is not None:
            sent, report = await history.compress(messages, budget)
            for turn in report.turns:
                if turn["decided"] == "now":
                    totals["recorded" if turn["scored_by"] == "recorded" else "scored"] += 1
        ids = prompt_ids(engine.get_tokenizer(), sent)
        prompt = {"type": "token", "prompt_token_ids": ids, "cache_salt": name}
        final = None
        async for output in engine.generate(
            prompt, sampling(0.0, 1.0, MAX_TOKENS, None, logprobs=0), f"{name}-{number}"
        ):
            final = output
        assert final is not None
        answer = final.outputs[0]
        rows = zip(answer.logprobs, answer.token_ids, strict=True)
        await history.remember(answer.text, list(answer.token_ids), [row[token].logprob for row, token in rows])
        totals["prompt"] += len(ids)
        totals["cached"] += final.num_cached_tokens or 0
        totals["generated"] += len(answer.token_ids)
        totals["last_prompt"] = len(ids)
        messages.append({"role": "assistant", "content": answer.text})
    return totals


async def measure(questions: list[Question], conversations: int, budget: float) -> dict[str, Any]:
    sums: dict[str, dict[str, int]] = {"plain": {}, "history": {}}
    async with open_engine("tiny", block_size=BLOCK, kv_cache_memory_bytes=256 << 20) as engine:
        for index in range(conversations):
            part = questions[index * TURNS : (index + 1) * TURNS]
            for side, chosen in (("plain", None), ("history", budget)):
                for key, value in (await converse(engine, part, chosen, f"{side}-{index}")).items():
                    sums[side][key] = sums[side].get(key, 0) + value
    sides = {
        side: {
            "prompt_tokens": found["prompt"],
            "cached_tokens": found["cached"],
            "prefill_tokens": found["prompt"] - found["cached"],
            "cache_hits": round(found["cached"] / found["prompt"], 4),
            "last_prompt_tokens": round(found["last_prompt"] / conversations, 1),
            "generated_tokens": found["generated"],
            "turns_scored_by_recording": found["recorded"],
            "turns_scored_by_a_pass": found["scored"],
        }
        for side, found in sums.items()
    }
    return {"model": "tiny", "conversations": conversations, "turns": TURNS, "budget": budget, "block": BLOCK, **sides}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=16)
    parser.add_argument("--budget", type=float, default=0.5)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    data = Path(resolve("tiny").path) / "test.jsonl"
    rows = [row for row in read_dataset(data) if len(row.question) < 75]  # six turns must fit into its context
    result = asyncio.run(measure(rows, options.conversations, options.budget))
    gc.collect()
    write(options.json, {**result, "provenance": provenance(0, data, "tiny")})
    print(result)


if __name__ == "__main__":
    main()
