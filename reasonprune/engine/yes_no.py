"""One yes-or-no question to a live engine, answered by the probabilities of its first token."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from reasonprune.engine.chat import prompt_ids

CANDIDATES = 20  # likeliest first tokens that are looked at


async def yes_probability(
    engine: Any, tokenizer: Any, text: str, request_id: str, options: Mapping[str, Any] | None = None
) -> tuple[float, int]:
    """p(yes) / (p(yes) + p(no)) after `text` as a user's turn, and the prompt's length in tokens.

    One half where neither is among the 20 likeliest tokens.
    """
    ids = prompt_ids(tokenizer, [{"role": "user", "content": text}])
    params = SamplingParams(max_tokens=1, temperature=0, logprobs=CANDIDATES, output_kind=RequestOutputKind.FINAL_ONLY)
    prompt = {"type": "token", "prompt_token_ids": ids}
    mass = {"yes": 0.0, "no": 0.0}
    async for output in engine.generate(prompt, params, request_id, **(options or {})):
        for entry in output.outputs[0].logprobs[0].values():
            word = (entry.decoded_token or "").strip().lower()
            if word in mass:
                mass[word] += exp(entry.logprob)
    total = sum(mass.values())
    return (mass["yes"] / total if total else 0.5), len(ids)
