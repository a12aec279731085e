"""A verbose TinyReasoner before and after `train cot`: tokens and accuracy on unseen problems, the adapter in vLLM.

Usage: `python benchmarks/cot_train.py --model VERBOSE --chains SHORT --adapter ADAPTER --json RESULT`, with what `train
verbose`, `compress` and `train cot` have written.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
from pathlib import Path
from typing import Any

from reasonprune.answers import canonical, extract_answer
from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.bench.provenance import provenance, write
from reasonprune.engine.offline import chat_prompt, open_engine, sampling
from reasonprune.models import resolve

MAX_TOKENS = 800
RANK = 64


async def answers(engine: Any, questions: list[Question], lora: Any, name: str) -> dict[str, float]:
    async def one(index: int, question: Question) -> tuple[bool, int]:
        final = None
        prompt, params = chat_prompt(engine, question.question, "tiny"), sampling(0.0, 1.0, MAX_TOKENS, None)
        async for output in engine.generate(prompt, params, f"{name}-{index}", lora_request=lora):
            final = output.outputs[0]
        assert final is not None
        answer = extract_answer(final.text)
        return answer is not None and canonical(answer) == canonical(question.gold), len(final.token_ids)

    found = await asyncio.gather(*(one(index, question) for index, question in enumerate(questions)))
    return {
        "accuracy": round(sum(right for right, _ in found) / len(found), 4),
        "tokens": round(sum(tokens for _, tokens in found) / len(found), 1),
    }


def compressed(chains: Path) -> dict[str, float]:
    """The budget that the adapter's chains were cut to, and the share of their tokens that was left."""
    rows = [json.loads(line)["reasonprune"] for line in chains.read_text(encoding="utf-8").splitlines()]
    tokens = [chain["tokens"] for row in rows for chain in row["chains"]]
    kept = sum(count["after"] for count in tokens) / sum(count["before"] for count in tokens)
    return {"budget": rows[0]["settings"]["budget"], "kept": round(kept, 4)}


async def measure(model: str, adapter: Path, questions: list[Question]) -> dict[str, Any]:
    from vllm.lora.request import LoRARequest

    async with open_engine(
        model, enable_lora=True, max_lora_rank=RANK, max_num_seqs=64, kv_cache_memory_bytes=512 << 20
    ) as engine:
        verbose = await answers(engine, questions, None, "verbose")
        short = await answers(engine, questions, LoRARequest("short", 1, str(adapter)), "adapter")
    return {
        "problems": len(questions),
        "verbose": verbose,
        "adapter": short,
        "tokens_saved": round(1 - short["tokens"] / verbose["tokens"], 4),
        "points": round(100 * (short["accuracy"] - verbose["accuracy"]), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--chains", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    data = Path(resolve("tiny").path) / "test.jsonl"
    result = asyncio.run(measure(options.model, options.adapter, read_dataset(data, options.limit)))
    gc.collect()
    result = {**compressed(options.chains), **result}
    write(options.json, {**result, "provenance": provenance(0, data, "tiny, verbose")})
    print(result)


if __name__ == "__main__":
    main()
