"""RASD inside vLLM's model runner: fuses retrieval with whatever drafter is configured, request by request.

A mixin in front of vLLM's runners for CPU and GPU. vLLM's scheduler, verification and rejection sampling stay as they
are; they get another draft. Where vLLM runs no speculation, it does nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from vllm.platforms import current_platform

from reasonprune.depth.drafting import Begun, LayerDrafter
from reasonprune.depth.support import draftable, undraftable
from reasonprune.speculative.drafting import Drafter, Row, Tokens
from reasonprune.speculative.engine_side import make_drafter
from reasonprune.speculative.proposer import RetrievalProposer
from reasonprune.speculative.wish import GREEDY_BELOW, Wish

logger = logging.getLogger(__name__)

TOP_TOKENS = 10  # of the drafter's first distribution, as in the paper


class SpeculativeRunner:
    """Put before vLLM's model runner in the bases of a class."""

    rasd: Drafter | None = None
    layer_drafter: LayerDrafter | None = None
    _began = 0.0

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        super().load_model(*args, **kwargs)  # type: ignore[misc]
        runner: Any = self
        if runner.speculative_config is None:
            return
        drafter = getattr(runner, "drafter", None)
        if isinstance(drafter, RetrievalProposer):
            self.rasd = drafter.core
            if undraftable(runner.vllm_config) is None:
                self.layer_drafter = LayerDrafter(runner.model, runner.vllm_config, self._metadata)
        elif runner.use_async_scheduling:
            logger.warning("Drafts are not fused with retrieval: that needs --no-async-scheduling.")
        else:
            self.rasd = make_drafter(runner.vllm_config)

    def execute_model(self, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        if self.rasd is not None:
            runner: Any = self
            for name in scheduler_output.finished_req_ids:
                if (request := runner.requests.get(name)) is not None:
                    self.rasd.finish(name, np.asarray(request.output_token_ids, np.int32))
            self._began = time.perf_counter()
        return super().execute_model(scheduler_output, *args, **kwargs)  # type: ignore[misc]

    def propose_draft_token_ids(self, scheduler_output: Any, sampled_token_ids: Any, *args: Any, **kwargs: Any) -> Any:
        rasd, runner = self.rasd, self
        if rasd is None:
            return super().propose_draft_token_ids(scheduler_output, sampled_token_ids, *args, **kwargs)  # type: ignore[misc]
        seconds = time.perf_counter() - self._began
        drafted, first = self._drafted(scheduler_output, sampled_token_ids, *args, **kwargs)
        rows, places = self._rows(sampled_token_ids, drafted, first)
        counts = scheduler_output.num_scheduled_tokens
        verified = sum(map(len, scheduler_output.scheduled_spec_decode_tokens.values()))
        total = scheduler_output.total_num_scheduled_tokens
        decoding = total == len(counts) + verified and len(rows) == len(counts)
        proposed: list[list[int]] = [[] for _ in runner.input_batch.req_ids]  # type: ignore[attr-defined]
        for place, draft in zip(
            places, rasd.propose(rows, seconds if decoding else None, total if decoding else None), strict=True
        ):
            proposed[place] = draft
        # A chain of several sources has no distribution of one drafter: verified as a proposal that is certain.
        runner._draft_probs = runner._draft_prob_req_ids = None  # type: ignore[attr-defined]
        return proposed

    def _drafted(
        self, scheduler_output: Any, sampled_token_ids: Any, *args: Any, **kwargs: Any
    ) -> tuple[Sequence[Sequence[int]], Sequence[Mapping[int, float] | None] | None]:
        """What the configured drafter proposes by row, and its first distribution where it is a model."""
        drafter = self.drafter  # type: ignore[attr-defined]
        requests = (self.requests[name] for name in self.input_batch.req_ids)  # type: ignore[attr-defined]
        if isinstance(drafter, RetrievalProposer):
            return self._drafted_by_layers(sampled_token_ids)
        if not any(_wish(request).drafts for request in requests):
            return [], None
        with first_logits(getattr(drafter, "model", None)) as captured:
            drafted = super().propose_draft_token_ids(scheduler_output, sampled_token_ids, *args, **kwargs)  # type: ignore[misc]
        if torch.is_tensor(drafted):
            drafted = drafted.tolist()
        if not captured or len(captured[0]) != len(drafted):
            return drafted, None
        chances, tokens = torch.softmax(captured[0].float(), dim=-1).topk(TOP_TOKENS, dim=-1)
        pairs = zip(tokens.tolist(), chances.tolist(), strict=True)
        return drafted, [dict(zip(row, chance, strict=True)) for row, chance in pairs]

    def _drafted_by_layers(
        self, sampled_token_ids: Any
    ) -> tuple[Sequence[Sequence[int]], Sequence[Mapping[int, float] | None] | None]:
        """As `_drafted`, by the model itself, for the requests that name layers to draft with."""
        runner, drafter = self, self.layer_drafter
        if drafter is None:
            return [], None
        batch: Any = runner.input_batch  # type: ignore[attr-defined]
        # Without a token a request is still in its prefill.
        places = [place for place in range(len(batch.req_ids)) if sampled_token_ids[place]]
        begun = [row for place in places if (row := self._begun(place))]
        if not begun:
            return [], None
        table = batch.block_table[0]
        drafter.draft(begun, table.get_device_tensor(len(batch.req_ids)), table.block_size)
        rows = {row.place: row for row in begun}
        found = [rows.get(place) for place in range(len(batch.req_ids))]
        return [row.drafted if row else [] for row in found], [(row.first or None) if row else None for row in found]

    def _begun(self, place: int) -> Begun | None:
        """The row of the batch as `LayerDrafter` takes it, None where its request names no layers to draft with."""
        runner: Any = self
        batch, table = runner.input_batch, runner.input_batch.block_table[0]
        wish = _wish(runner.requests[batch.req_ids[place]])
        if not wish.drafts or not draftable(wish.layers, runner.model.config.num_hidden_layers):
            return None
        length = int(batch.num_tokens_no_spec[place])
        longest = self.rasd.longest if self.rasd is not None else 0
        # vLLM has reserved no rows for drafts that a model of ours writes: what is left of the last block is there.
        held = int(table.num_blocks_per_row[place]) * table.block_size - (length - 1)
        room = min(longest, wish.tokens or longest, runner.max_model_len - length - 1, held)
        return Begun(place, wish.layers, int(batch.token_ids_cpu[place, length - 1]), length - 1, room)

    def _metadata(self, common: Any) -> Any:
        builder = self.attn_groups[0][0].get_metadata_builder(0)  # type: ignore[attr-defined]
        return builder.build(common_prefix_len=0, common_attn_metadata=common)

    def _rows(
        self,
        sampled_token_ids: Any,
        drafted: Sequence[Sequence[int]],
        first: Sequence[Mapping[int, float] | None] | None,
    ) -> tuple[list[Row], list[int]]:
        """The rows that can be drafted for, and their places in the batch."""
        runner: Any = self
        batch = runner.input_batch
        rows, places = [], []
        # Model drafters run before the sampled tokens are entered into the batch, as a tensor padded with -1.
        entered = not torch.is_tensor(sampled_token_ids)
        sampled = sampled_token_ids if entered else sampled_token_ids.tolist()
        for place, name in enumerate(batch.req_ids):
            new = [token for token in sampled[place] if token >= 0]
            if not new or (not entered and runner.discard_request_mask.np[place]):
                continue  # the prefill is not complete
            length = int(batch.num_tokens_no_spec[place])
            tokens: Tokens = batch.token_ids_cpu[place, :length]
            if not entered:
                tokens = np.concatenate([tokens, np.asarray(new, tokens.dtype)])
            rows.append(
                Row(
                    name,
                    tokens,
                    runner.max_model_len - len(tokens) - 1,
                    _wish(runner.requests[name]),
                    drafted[place] if drafted else (),
                    first[place] if first else None,
                )
            )
            places.append(place)
        return rows, places


def _wish(request: Any) -> Wish:
    params = request.sampling_params
    # vLLM 0.32 does not verify drafts of sampled requests soundly on CPUs, so these are decoded plainly there.
    if current_platform.is_cpu() and params is not None and params.temperature >= GREEDY_BELOW:
        return Wish("off")
    return Wish.of(params.extra_args if params is not None else None)


def outer_id(name: str) -> str:
    """vLLM's engine calls the i-th sample of request R `i_R-<random>`, a single one `R-<random>`."""
    index, underscore, rest = name.partition("_")
    return rest if underscore and index.isdigit() else name


class SpeculativeWorker:
    """What the frontend asks a worker by `collective_rpc`. Put before vLLM's worker in the bases of a class."""

    def take_acceptance(self, request_id: str) -> dict[str, Any] | None:
        """Counts of a request and of those made for it, added up and forgotten; None without RASD."""
        rasd: Drafter | None = getattr(self.model_runner, "rasd", None)  # type: ignore[attr-defined]
        if rasd is None:
            return None
        return rasd.take(lambda key: outer_id(str(key)).startswith(request_id + "-")).as_json()

    def acceptance(self) -> dict[str, Any] | None:
        """Counts of all requests since the start, None without RASD."""
        rasd: Drafter | None = getattr(self.model_runner, "rasd", None)  # type: ignore[attr-defined]
        return None if rasd is None else rasd.totals.as_json()


@contextmanager
def first_logits(model: Any) -> Iterator[list[torch.Tensor]]:
    """Keeps the first logits that `model` computes inside the block, the distribution of the first draft tokens."""
    kept: list[torch.Tensor] = []
    if not hasattr(model, "compute_logits"):
        yield kept
        return
    compute = model.compute_logits

    def computed(*args: Any, **kwargs: Any) -> torch.Tensor:
        logits = compute(*args, **kwargs)
        if not kept:
            kept.append(logits)
        return logits

    model.compute_logits = computed
    try:
        yield kept
    finally:
        del model.compute_logits
