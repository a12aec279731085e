"""One forward pass of a batch whose requests run different layer programs, on vLLM's own decoder layers.

Rows stay where vLLM put them. A layer that all requests run next, from the same slot of KV cache, is called as in any
other step, with vLLM's own attention metadata; one that only some run is given their rows, with metadata of their own.
Block tables stay as vLLM made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import nn
from vllm.forward_context import get_forward_context
from vllm.v1.attention.backend import CommonAttentionMetadata

from reasonprune.depth.schedule import Step, schedule
from reasonprune.depth.slots import slots_of

BuildMetadata = Callable[[CommonAttentionMetadata], Any]


class View:
    """Some rows of the batch as attention sees them, in the batch's order; metadata is made if used.

    `tokens`: their places among the batch's tokens. `part` selects the same, as a slice where they are neighbours.
    """

    def __init__(self, rows: Sequence[int], starts: Sequence[int], whole: Any, build: BuildMetadata) -> None:
        self._rows, self._starts, self._whole, self._build = rows, starts, whole, build
        places = [token for row in rows for token in range(starts[row], starts[row + 1])]
        self.tokens = torch.tensor(places, device=whole.block_table.device)
        neighbours = places[-1] - places[0] == len(places) - 1
        self.part: slice | torch.Tensor = slice(places[0], places[-1] + 1) if neighbours else self.tokens

    @cached_property
    def metadata(self) -> Any:
        whole, starts, device = self._whole, self._starts, self.tokens.device
        index = torch.tensor(self._rows, device=device)
        lengths = [starts[row + 1] - starts[row] for row in self._rows]
        begins = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        common = CommonAttentionMetadata(
            query_start_loc=begins.to(device),
            query_start_loc_cpu=begins,
            seq_lens=whole.seq_lens[index],
            num_reqs=len(lengths),
            num_actual_tokens=len(self.tokens),
            max_query_len=max(lengths),
            max_seq_len=whole.max_seq_len,
            block_table_tensor=whole.block_table[index],
            slot_mapping=whole.slot_mapping[self.tokens],
            causal=whole.causal,
        )
        return self._build(common)

    @contextmanager
    def shown(self, slot: Any) -> Iterator[None]:
        """Within, `slot` works on these rows instead of the whole batch."""
        context = get_forward_context()
        before = context.attn_metadata, context.slot_mapping
        context.attn_metadata = {slot.layer_name: self.metadata}
        context.slot_mapping = {slot.layer_name: self.metadata.slot_mapping}
        try:
            yield
        finally:
            context.attn_metadata, context.slot_mapping = before


class Batch:
    """The rows of one engine step in groups of equal programs.

    `programs`: by row. `metadata`: the attention backend's, for the whole batch; read are the fields that vLLM's
    backends share (`query_start_loc`, `seq_lens`, `block_table`, `slot_mapping`, `max_seq_len`, `causal`).
    """

    def __init__(self, programs: Sequence[tuple[int, ...]], metadata: Any, build: BuildMetadata) -> None:
        rows: dict[tuple[int, ...], list[int]] = {}
        for row, program in enumerate(programs):
            rows.setdefault(program, []).append(row)
        self.programs = tuple(sorted(rows))
        self._rows = [rows[program] for program in self.programs]
        self._metadata = metadata
        self._build = build
        self._views: dict[tuple[int, ...], View] = {}

    @cached_property
    def _starts(self) -> list[int]:
        starts: list[int] = self._metadata.query_start_loc.tolist()
        return starts

    def has_all(self, groups: tuple[int, ...]) -> bool:
        """Whether these groups are the whole batch."""
        return len(groups) == len(self.programs)

    def view(self, groups: tuple[int, ...]) -> View:
        """The rows of these groups."""
        if groups not in self._views:
            rows = sorted(row for group in groups for row in self._rows[group])
            self._views[groups] = View(rows, self._starts, self._metadata, self._build)
        return self._views[groups]


class SplitAttention(nn.Module):  # type: ignore[misc]
    """Stands in for a layer's attention where its requests are at different slots: one call for each slot.

    `parts`: slot, its rows, and the places of their tokens among those that the layer is given.
    """

    def __init__(self, parts: list[tuple[Any, View, torch.Tensor]]) -> None:
        super().__init__()
        self._parts = parts

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        output = torch.empty_like(query)
        for slot, view, places in self._parts:
            with view.shown(slot):
                output[places] = slot(query[places], key[places], value[places])
        return output


@contextmanager
def attending(layer: Any, attention: Any) -> Iterator[None]:
    """Within, `layer` attends through `attention` instead of its own."""
    own = layer.self_attn.attn
    if own is attention:
        yield
        return
    layer.self_attn.attn = attention
    try:
        yield
    finally:
        layer.self_attn.attn = own


def run_uniform(
    layers: Sequence[Any], slots: Sequence[Any], program: tuple[int, ...], positions: torch.Tensor, hidden: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """All requests run one program: vLLM's layers one after the other. Returns hidden states and residual."""
    residual: Any = None
    for slot, number in zip(slots_of(program, len(layers)), program, strict=True):
        with attending(layers[number], slots[slot]):
            hidden, residual = layers[number](positions, hidden, residual)
    return hidden, residual


def run_mixed(
    layers: Sequence[Any], slots: Sequence[Any], batch: Batch, positions: torch.Tensor, hidden: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Every layer runs once for all requests that need it next. Returns hidden states and residual."""
    residual = torch.zeros_like(hidden)  # what a decoder layer adds to the embedding when it has no residual yet
    for step in schedule(batch.programs, len(layers)):
        layer, groups = layers[step.layer], tuple(group for group, _ in step.members)
        with _attention_of(step, groups, batch, layer, slots):
            if batch.has_all(groups):
                hidden, residual = layer(positions, hidden, residual)
            else:
                part = batch.view(groups).part
                hidden[part], residual[part] = layer(positions[part], hidden[part], residual[part])
    return hidden, residual


@contextmanager
def _attention_of(
    step: Step, groups: tuple[int, ...], batch: Batch, layer: Any, slots: Sequence[Any]
) -> Iterator[None]:
    """Within, `layer` attends for the members of `step`, each in its own slot."""
    members: dict[int, list[int]] = {}
    for group, slot in step.members:
        members.setdefault(slot, []).append(group)
    if len(members) > 1:
        views = [(slots[slot], batch.view(tuple(sharing))) for slot, sharing in members.items()]
        tokens = None if batch.has_all(groups) else batch.view(groups).tokens
        parts = [(s, v, v.tokens if tokens is None else torch.searchsorted(tokens, v.tokens)) for s, v in views]
        with attending(layer, SplitAttention(parts)):
            yield
        return
    slot = slots[next(iter(members))]
    with attending(layer, slot), nullcontext() if batch.has_all(groups) else batch.view(groups).shown(slot):
        yield
