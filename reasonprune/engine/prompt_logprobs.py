"""Log-probabilities of given tokens, by one prefill of a live engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind


async def continuation_logprobs(
    engine: Any,
    prompt_ids: Sequence[int],
    token_ids: Sequence[int],
    request_id: str,
    options: Mapping[str, Any] | None = None,
    cache_salt: str | None = None,
) -> list[float]:
    """log p of each of `token_ids` after `prompt_ids` and those before it, in nats.

    The cached prefix is used as far as it ends before `token_ids`: vLLM 0.32 computes no rows for cached tokens and
    hands out uninitialised memory in their place, so where the cache reaches further, everything is computed anew.
    """
    prompt: dict[str, Any] = {"type": "token", "prompt_token_ids": [*prompt_ids, *token_ids]}
    if cache_salt is not None:
        prompt["cache_salt"] = cache_salt
    first = len(prompt_ids)
    for name, skip_cache in ((request_id, False), (f"{request_id}-uncached", True)):
        params = SamplingParams(
            max_tokens=1,
            temperature=0,
            prompt_logprobs=0,
            detokenize=False,  # of uninitialised rows would end vLLM's output handler
            skip_reading_prefix_cache=skip_cache,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        final = None
        async for output in engine.generate(prompt, params, name, **(options or {})):
            final = output
        assert final is not None, "the engine ends every request with an output"
        rows = final.prompt_logprobs[first:]
        # Row i comes of computing token i - 1, so the token before the first of `token_ids` must not be cached either.
        if skip_cache or (final.num_cached_tokens or 0) < first:
            break
    return [row[token].logprob for row, token in zip(rows, token_ids, strict=True)]
