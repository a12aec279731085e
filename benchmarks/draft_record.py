"""Greedy answers to prompts, as token ids, for replaying drafts against them (`draft_replay.py`).

Usage: `python benchmarks/draft_record.py --model demo --data question.jsonl --limit 120 --out RECORDED`

Every turn of every prompt is a line of `task`, `prompt_ids` and `token_ids`; later turns go on from what was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
from pathlib import Path
from typing import Any

from reasonprune.bench.prompts import Prompt, read_prompts
from reasonprune.engine.chat import prompt_ids
from reasonprune.engine.offline import open_engine, sampling


async def answers(engine: Any, number: int, prompt: Prompt, max_tokens: int) -> list[dict[str, Any]]:
    tokenizer = engine.get_tokenizer()
    room = engine.model_config.max_model_len - max_tokens - 1
    messages: list[dict[str, Any]] = []
    rows = []
    for turn, text in enumerate(prompt.turns):
        messages.append({"role": "user", "content": text})
        ids = prompt_ids(tokenizer, messages)[-room:]
        async for output in engine.generate(
            {"type": "token", "prompt_token_ids": ids}, sampling(0.0, 1.0, max_tokens, None), f"{number}-{turn}"
        ):
            found = list(output.outputs[0].token_ids)
        rows.append({"prompt": number, "task": prompt.task, "turn": turn, "prompt_ids": ids, "token_ids": found})
        messages.append({"role": "assistant", "content": tokenizer.decode(found, skip_special_tokens=True)})
    return rows


async def record(options: argparse.Namespace) -> None:
    prompts = read_prompts(options.data, options.limit)
    places = asyncio.Semaphore(options.concurrency)
    async with open_engine(
        options.model, dtype=options.dtype, max_num_seqs=options.concurrency, kv_cache_memory_bytes=1 << 30
    ) as engine:

        async def one(number: int, prompt: Prompt) -> list[dict[str, Any]]:
            async with places:
                return await answers(engine, number, prompt, options.max_tokens)

        recorded = await asyncio.gather(*(one(number, prompt) for number, prompt in enumerate(prompts)))
    with options.out.open("w", encoding="utf-8") as file:
        for row in (row for rows in recorded for row in rows):
            file.write(json.dumps(row) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--out", type=Path, required=True)
    asyncio.run(record(parser.parse_args()))
    gc.collect()


if __name__ == "__main__":
    main()
