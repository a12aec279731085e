"""Activated LoRA: one that acts from some token of its request on, and not before.

What precedes is computed without it, so its blocks in the prefix cache are those of the plain model: a check of a trace
reads the evaluation turn and no more (arXiv 2504.12397). vLLM 0.32 refuses adapters of this kind; here a plain LoRA
becomes one by its request, whose `extra_args` name the first token.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from reasonprune.engine.workers import VARIABLE

ARGUMENT = "reasonprune_lora_from"
"""Of `SamplingParams.extra_args`: the first token, counted from the request's beginning, on which its LoRA acts."""

ExtraKeys = Callable[[Any, int, int, int], tuple[tuple[Any, ...] | None, int]]


def first_token(params: Any) -> int:
    """0 where a LoRA acts on all of its request."""
    found = (getattr(params, "extra_args", None) or {}).get(ARGUMENT, 0)
    return found if isinstance(found, int) else 0


def told_apart(keys_of: ExtraKeys) -> ExtraKeys:
    """vLLM's own extra keys of a block's hash, of which the LoRA's says where it begins to act.

    It is missing from blocks before that, which are the plain model's.
    """

    def extra_keys(request: Any, start: int, end: int, multimodal: int) -> tuple[tuple[Any, ...] | None, int]:
        keys, following = keys_of(request, start, end, multimodal)
        first = first_token(request.sampling_params)
        if keys and first > 0:
            others = tuple(key for key in keys if key[0] != "lora")
            loras = tuple((key[0], f"{key[1]}@{first}", *key[2:]) for key in keys if key[0] == "lora")
            keys = (others if end <= first else loras + others) or None
        return keys, following

    return extra_keys


def plugin() -> None:
    """vLLM's general plugin, which runs in each of its processes; theirs whose worker is not ours stay as they are."""
    if os.environ.get(VARIABLE):
        share_prefixes()


def share_prefixes() -> None:
    """In this process, blocks before an activated LoRA are found by all requests. Needs `ActivatedLoraRunner`."""
    from vllm.v1.core import block_pool, kv_cache_utils

    if getattr(kv_cache_utils, "reasonprune_shares", False):
        return
    keys = told_apart(kv_cache_utils.generate_block_hash_extra_keys)
    kv_cache_utils.generate_block_hash_extra_keys = block_pool.generate_block_hash_extra_keys = keys
    kv_cache_utils.reasonprune_shares = True


class ActivatedLoraRunner:
    """Mixin of a model runner: tells the kernels which tokens of the batch a LoRA acts on."""

    def set_active_loras(
        self, input_batch: Any, num_scheduled_tokens: Any, num_sampled_tokens: Any = None, **more: Any
    ) -> None:
        requests = self.requests  # type: ignore[attr-defined]
        names = input_batch.req_ids[: input_batch.num_reqs]
        firsts = np.array([first_token(requests[name].sampling_params) for name in names], dtype=np.int64)
        before = firsts - input_batch.num_computed_tokens_cpu[: len(firsts)]
        if not (before > 0).any():
            super().set_active_loras(input_batch, num_scheduled_tokens, num_sampled_tokens, **more)  # type: ignore[misc]
            return
        if num_sampled_tokens is None:
            num_sampled_tokens = np.ones_like(num_scheduled_tokens, dtype=np.int32)
        sampled, tokens, active = input_batch.make_lora_inputs(num_scheduled_tokens, num_sampled_tokens)
        counts = np.minimum(np.maximum(before, 0), num_scheduled_tokens)
        begins = np.cumsum(num_scheduled_tokens) - num_scheduled_tokens
        mapping = np.array(tokens)
        for begin, count in zip(begins, counts, strict=True):
            mapping[begin : begin + count] = 0
        self._set_active_loras(sampled, tuple(mapping.tolist()), active, **more)  # type: ignore[attr-defined]
