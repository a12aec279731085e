"""One forward pass of a batch whose requests run different layer programs, on vLLM's own decoder layers.

KV cache goes by position in the program, not by layer: the p-th layer that a request runs keeps its keys and values in
slot p, whichever layer that is. So a skipped layer leaves no hole, a repeated one has a slot for each of its runs, and
block tables stay as vLLM made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import nn
from vllm.forward_context import get_forward_context
from vllm.v1.attention.backend import CommonAttentionMetadata

from reasonprune.depth.schedule import Step, schedule

BuildMetadata = Callable[[CommonAttentionMetadata], Any]


class View:
    """Some rows of the batch as attention sees them: `tokens` are theirs, in this order; metadata is made if used.

    `part`: where they are once the batch is ordered by group.
    """

    def __init__(
        self, rows: Sequence[int], part: slice | torch.Tensor, starts: Sequence[int], whole: Any, build: BuildMetadata
    ) -> None:
        self.part = part
        self._rows, self._starts, self._whole, self._build = rows, starts, whole, build
        tokens = [token for row in rows for token in range(starts[row], starts[row + 1])]
        self.tokens = torch.tensor(tokens, device=whole.block_table.device)

    @cached_property
    def metadata(self) -> Any:
        whole, starts, device = self._whole, self._starts, self.tokens.device
        index = torch.tensor(self._rows, device=device)
        lengths = [starts[row + 1] - starts[row] for row in self._rows]
        begins = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
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

    @property
    def steps(self) -> tuple[Step, ...]:
        return schedule(self.programs)

    @cached_property
    def _starts(self) -> list[int]:
        starts: list[int] = self._metadata.query_start_loc.tolist()
        return starts

    @cached_property
    def _ends(self) -> list[int]:
        """Where each group's tokens end once the batch is ordered by group; a zero before the first."""
        starts = self._starts
        lengths = (sum(starts[row + 1] - starts[row] for row in rows) for rows in self._rows)
        return list(accumulate(lengths, initial=0))

    @property
    def everyone(self) -> View:
        """All rows; its `tokens` order the batch by group."""
        return self.view(tuple(range(len(self.programs))))

    def view(self, groups: tuple[int, ...]) -> View:
        """The rows of these groups, one group after the other."""
        if groups not in self._views:
            rows = [row for group in groups for row in self._rows[group]]
            self._views[groups] = View(rows, self._part(groups), self._starts, self._metadata, self._build)
        return self._views[groups]

    def _part(self, groups: tuple[int, ...]) -> slice | torch.Tensor:
        """Neighbouring groups are a slice, which costs no copy."""
        ends = self._ends
        if groups == tuple(range(groups[0], groups[-1] + 1)):
            return slice(ends[groups[0]], ends[groups[-1] + 1])
        places = [place for group in groups for place in range(ends[group], ends[group + 1])]
        return torch.tensor(places, device=self._metadata.block_table.device)


class SplitAttention(nn.Module):  # type: ignore[misc]
    """Stands in for a layer's attention where its requests are at different positions: one call a group."""

    def __init__(self, parts: list[tuple[Any, View]]) -> None:
        super().__init__()
        self._parts = parts  # slot and rows, in the order of the tokens

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        outputs, start = [], 0
        for slot, view in self._parts:
            part = slice(start, start + len(view.tokens))
            with view.shown(slot):
                outputs.append(slot(query[part], key[part], value[part]))
            start = part.stop
        return torch.cat(outputs)


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
    for slot, number in zip(slots, program, strict=False):
        with attending(layers[number], slot):
            hidden, residual = layers[number](positions, hidden, residual)
    return hidden, residual


def run_mixed(
    layers: Sequence[Any], slots: Sequence[Any], batch: Batch, positions: torch.Tensor, hidden: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Every layer runs once for all requests that need it next. Returns hidden states and residual."""
    everyone = batch.everyone
    # By group, so that a step takes neighbouring rows and need not gather them.
    hidden, positions = hidden[everyone.tokens], positions[everyone.tokens]
    residual = torch.zeros_like(hidden)  # what a decoder layer adds to the embedding when it has no residual yet
    for step in batch.steps:
        view = batch.view(tuple(group for group, _ in step.members))
        layer, part = layers[step.layer], view.part
        with _attention_of(step, view, batch, layer, slots):
            if view is everyone:
                hidden, residual = layer(positions, hidden, residual)
            else:
                hidden[part], residual[part] = layer(positions[part], hidden[part], residual[part])
    before = torch.empty_like(everyone.tokens)
    before[everyone.tokens] = torch.arange(len(before), device=before.device)
    return hidden[before], residual[before]


@contextmanager
def _attention_of(step: Step, view: View, batch: Batch, layer: Any, slots: Sequence[Any]) -> Iterator[None]:
    """Within, `layer` attends for the members of `step`, each in the slot of its own position."""
    first = slots[step.members[0][1]]
    if len({position for _, position in step.members}) == 1:
        with view.shown(first), attending(layer, first):
            yield
        return
    split = SplitAttention([(slots[position], batch.view((group,))) for group, position in step.members])
    with attending(layer, split):
        yield
