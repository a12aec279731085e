"""One request to an engine that speculates, and what it counted."""

from __future__ import annotations

from typing import Any

from reasonprune.speculative.wish import KEY, Wish

MAX_TOKENS = 80


async def generate(engine: Any, prompt: dict[str, Any], name: str, wish: Wish, **params: Any) -> list[int]:
    """Token ids, greedy unless `params` say otherwise."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = SamplingParams(
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args={KEY: wish.as_argument()},
        **({"temperature": 0, "max_tokens": MAX_TOKENS} | params),
    )
    async for output in engine.generate(prompt, sampling, name):
        ids = list(output.outputs[0].token_ids)
    return ids


async def counts(engine: Any, name: str) -> dict[str, Any]:
    (found,) = await engine.collective_rpc("take_acceptance", args=(name,))
    return found
