"""LoRAs on vLLM's CPU engine, made sound: a token without one gets none.

vLLM 0.32 marks tokens without a LoRA by the index -1. Its CPU kernels take that as an index like any other, so that in
a batch where some request runs a LoRA every other request runs the one in the last slot. They also copy the weights
once for each token; here each LoRA's rows go through one product.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch


def products(
    inputs: torch.Tensor, weights: torch.Tensor, indices: torch.Tensor, dtype: torch.dtype
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """For each LoRA in use: its rows, and their products with its weights, [rows, out].

    `weights`: [slots, out, in] or [slots, 1, out, in]; `indices`: the slot of each row, -1 for none.
    """
    if weights.dim() == 4:
        weights = weights.squeeze(1)
    for slot in torch.unique(indices).tolist():
        if slot >= 0:
            rows = torch.nonzero(indices == slot)[:, 0]
            yield rows, inputs[rows].to(dtype) @ weights[slot].T.to(dtype)


def shrink(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, scaling: float = 1.0
) -> None:
    """`output[:, :rank] = scaling * inputs @ A`; zero without a LoRA."""
    output.zero_()
    for rows, product in products(inputs, weights, indices, output.dtype):
        output[rows, : product.shape[1]] = scaling * product


def expand(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, add_inputs: bool = True
) -> None:
    """`output += inputs @ B`, or `=`, as far as both are wide: the vocabulary of either may be padded."""
    expand_slice(inputs, weights, output, indices, 0, output.shape[1], add_inputs)


def expand_slice(
    inputs: torch.Tensor,
    weights: torch.Tensor,
    output: torch.Tensor,
    indices: torch.Tensor,
    offset: int,
    size: int,
    add_inputs: bool = True,
) -> None:
    """`expand` into the columns from `offset` on, `size` of them at most."""
    part = output[:, offset : offset + size]
    if not add_inputs:
        part.zero_()
    # One LoRA after the other, since a row has one at most.
    for rows, product in products(inputs, weights, indices, output.dtype):
        width = min(product.shape[1], part.shape[1])
        part[rows, :width] += product[:, :width]


def mend() -> None:
    """Put these in the place of vLLM's, in this process; what works on whole prompts calls them by the same names."""
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    for module in (lora_ops, punica_cpu):
        module.bgmv_shrink, module.bgmv_expand, module.bgmv_expand_slice = shrink, expand, expand_slice
