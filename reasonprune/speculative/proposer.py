"""RASD for plain vLLM by one flag, without a worker of ours: retrieval only, and the same for all requests.

`vllm serve MODEL --speculative-config '{"method": "custom_class", "num_speculative_tokens": 12,
"model": "reasonprune.speculative.proposer.RetrievalProposer"}'`; a datastore by `REASONPRUNE_DATASTORE=FOLDER`.
vLLM tells such a proposer neither requests nor their options. `reasonprune serve` and our workers do (`runner`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonprune.speculative.drafting import Row
from reasonprune.speculative.engine_side import make_drafter

CLASS_PATH = "reasonprune.speculative.proposer.RetrievalProposer"


class RetrievalProposer:
    """Implements vLLM's contract for `custom_class`: `load_model`, and `propose` once a step."""

    def __init__(self, vllm_config: Any) -> None:
        self._limit: int = vllm_config.model_config.max_model_len
        self.core = make_drafter(vllm_config)
        self._last: tuple[float, int] | None = None

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to load."""

    def propose(
        self,
        sampled_token_ids: Sequence[Sequence[int]],
        num_tokens_no_spec: NDArray[np.integer],
        token_ids_cpu: NDArray[np.int32],
        slot_mappings: Any = None,
    ) -> list[list[int]]:
        """Drafts by batch row; `sampled_token_ids[row]` is empty where the prefill is not complete."""
        now = time.perf_counter()
        rows, places = [], []
        for place, sampled in enumerate(sampled_token_ids):
            length = int(num_tokens_no_spec[place])
            if sampled and length:
                places.append(place)
                rows.append(Row(place, token_ids_cpu[place, :length], self._limit - length - 1))
        # From the end of one step to that of the next, where nothing but decoding happened between them.
        began, tokens = self._last if self._last is not None and len(rows) == len(sampled_token_ids) else (None, None)
        drafts = self.core.propose(rows, None if began is None else now - began, tokens)
        drafted: list[list[int]] = [[] for _ in sampled_token_ids]
        for place, draft in zip(places, drafts, strict=True):
            drafted[place] = draft
        self._last = (time.perf_counter(), len(rows) + sum(map(len, drafts))) if rows else None
        return drafted
