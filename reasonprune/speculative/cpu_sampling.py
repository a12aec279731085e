"""Sampling with drafts on vLLM's CPU engine, made sound.

vLLM 0.32 spreads each request's temperature, top-k and top-p over its draft tokens. On CPUs the kernel for that writes
into a converted copy of anything but 64-bit integers, so that drafts are verified with whatever the memory held before:
neither fast, since hardly any draft is accepted, nor lossless. Greedy requests are not concerned.
"""

from __future__ import annotations

import torch


def expand(
    x: torch.Tensor, cu_num_tokens: torch.Tensor, num_tokens: int, replace_from: int = 0, replace_to: int = 0
) -> torch.Tensor:
    """`x[i]` for every token of request i, as (num_tokens,); `cu_num_tokens` are the requests' ends."""
    counts = torch.diff(cu_num_tokens, prepend=cu_num_tokens.new_zeros(1))
    expanded = x.repeat_interleave(counts.long(), output_size=num_tokens)
    return expanded.masked_fill(expanded == replace_from, replace_to)


def mend() -> None:
    """Put `expand` in the place of vLLM's, in this process."""
    from vllm.v1.sample import rejection_sampler

    rejection_sampler.expand_batch_to_tokens = expand
