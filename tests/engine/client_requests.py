"""Requests to the engine client as vLLM's serving code would make them."""

from __future__ import annotations

import asyncio
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from reasonprune.context import RequestContext, current_request
from reasonprune.engine.offline import chat_prompt
from reasonprune.engine.vllm import RaceClient
from reasonprune.options import Options

QUESTION = "Start with 10, add 20, add 5. What do you get?"


async def answer(client: RaceClient, field: dict[str, Any], stream: bool = False, **params: Any) -> Any:
    """Outputs of one request as vLLM's serving code would see them, and its account."""
    context = RequestContext(Options.model_validate(field))
    kind = RequestOutputKind.DELTA if stream else RequestOutputKind.FINAL_ONLY
    sampling = SamplingParams(**({"max_tokens": 200, "output_kind": kind} | params))
    token = current_request.set(context)
    try:
        prompt = chat_prompt(client, QUESTION, "tiny")
        name = f"test-{id(context)}"
        outputs = [output async for output in client.generate(prompt, sampling, name)]
    finally:
        current_request.reset(token)
    return outputs, context.account


async def idle(engine: Any) -> bool:
    for _ in range(100):
        if engine.get_num_unfinished_requests() == 0:
            return True
        await asyncio.sleep(0.02)
    return False
