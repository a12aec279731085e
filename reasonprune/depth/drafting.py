"""Self-speculation: a program that skips layers drafts on the model's own weights, and all layers verify the draft.

As in SWIFT (arXiv 2410.06916) the draft has no KV cache of its own. It reads what all layers left there for the tokens
that are settled, and its own tokens write into the rows behind them, which verification overwrites. So nothing is kept
twice, no prompt is read twice, and any program is lossless.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from vllm.forward_context import set_forward_context
from vllm.v1.attention.backend import CommonAttentionMetadata

BuildMetadata = Callable[[CommonAttentionMetadata], Any]

UNSURE = 0.6  # a draft ends with the first token that is less likely than this
TOP_TOKENS = 10  # of the first distribution, by which retrieved continuations are weighed


@dataclass
class Begun:
    """A request to draft for: its latest token, at `position`; `room`: tokens that may be written from there on.

    Filled in: `drafted`, and `first`, the likeliest first tokens with their probabilities.
    """

    place: int
    program: tuple[int, ...]
    token: int
    position: int
    room: int
    drafted: list[int] = field(default_factory=list)
    first: dict[int, float] = field(default_factory=dict)


class LayerDrafter:
    """Drafts greedily with some of the layers of a vLLM model whose layers are `model.model.layers`."""

    def __init__(self, model: Any, vllm_config: Any, build: BuildMetadata) -> None:
        self._model = model
        self._layers = list(model.model.layers)
        self._names = [layer.self_attn.attn.layer_name for layer in self._layers]
        self._vllm_config = vllm_config
        self._build = build

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def draft(self, requests: Sequence[Begun], block_table: torch.Tensor, block_size: int) -> None:
        """Fills in `drafted` and `first`. `block_table`: (rows of the batch, blocks); requests say their row."""
        for program in dict.fromkeys(request.program for request in requests):
            going = [request for request in requests if request.program == program and request.room > 0]
            while going:
                chances = self._step(program, going, block_table, block_size)
                going = [request for request, chance in zip(going, chances, strict=True) if _goes_on(request, chance)]

    def _step(
        self, program: tuple[int, ...], going: Sequence[Begun], block_table: torch.Tensor, block_size: int
    ) -> list[float]:
        """One more token for each; returns how likely it was."""
        device = block_table.device
        tokens = torch.tensor([r.drafted[-1] if r.drafted else r.token for r in going], device=device)
        positions = torch.tensor([r.position + len(r.drafted) for r in going], device=device)
        table = block_table[torch.tensor([r.place for r in going], device=device)]
        blocks = table.gather(1, (positions // block_size)[:, None]).squeeze(1)
        slots = blocks.to(torch.int64) * block_size + positions % block_size
        begins = torch.arange(len(going) + 1, dtype=torch.int32)
        metadata = self._build(
            CommonAttentionMetadata(
                query_start_loc=begins.to(device),
                query_start_loc_cpu=begins,
                seq_lens=(positions + 1).to(torch.int32),
                num_reqs=len(going),
                num_actual_tokens=len(going),
                max_query_len=1,
                max_seq_len=int(positions.max()) + 1,
                block_table_tensor=table,
                slot_mapping=slots,
                causal=True,
            )
        )
        with set_forward_context(
            dict.fromkeys(self._names, metadata),
            self._vllm_config,
            num_tokens=len(going),
            slot_mapping=dict.fromkeys(self._names, slots),
        ):
            hidden, residual = self._model.embed_input_ids(tokens), None
            for number in program:
                hidden, residual = self._layers[number](positions, hidden, residual)
            hidden = self._model.model.norm(hidden, residual)[0]
        chances, likeliest = torch.softmax(self._model.compute_logits(hidden).float(), dim=-1).topk(TOP_TOKENS, dim=-1)
        for request, row, chance in zip(going, likeliest.tolist(), chances.tolist(), strict=True):
            if not request.drafted:
                request.first = dict(zip(row, chance, strict=True))
            request.drafted.append(row[0])
        return [float(chance) for chance in chances[:, 0]]


def _goes_on(request: Begun, chance: float) -> bool:
    return chance >= UNSURE and len(request.drafted) < request.room
