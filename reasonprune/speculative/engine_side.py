"""A `Drafter` from an engine's configuration and the environment that `reasonprune serve` hands on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasonprune.errors import DatastoreError
from reasonprune.speculative.datastore import Datastore
from reasonprune.speculative.drafting import Drafter, Ngram, Tokens
from reasonprune.speculative.fingerprint import fingerprint
from reasonprune.speculative.recent import Growth

STORE_VARIABLE = "REASONPRUNE_DATASTORE"
GROW_VARIABLE = "REASONPRUNE_DATASTORE_GROWS"
NGRAM_TOKENS = 5  # vLLM's usual example
NGRAM_MATCH = (2, 4)


def make_drafter(vllm_config: Any, environ: Mapping[str, str] = os.environ) -> Drafter:
    """Raises DatastoreError where the datastore cannot be used with this model: better no server than silent junk."""
    if vllm_config.device_config.device_type == "cpu":
        from reasonprune.speculative.cpu_sampling import mend

        mend()
    store = growth = None
    folder = environ.get(STORE_VARIABLE)
    if folder:
        from vllm.tokenizers import cached_tokenizer_from_config

        tokenizer = cached_tokenizer_from_config(vllm_config.model_config)
        store = Datastore(Path(folder), fingerprint(tokenizer))
        if environ.get(GROW_VARIABLE) == "1":
            if store.manifest.max_tokens is None:
                raise DatastoreError(
                    f"The datastore {folder} has no bound, so it must not grow by itself. Build it with --max-tokens."
                )
            growth = Growth(store)
    return Drafter(vllm_config.speculative_config.num_speculative_tokens, store, growth, _ngram(vllm_config))


def _ngram(vllm_config: Any) -> Ngram:
    """vLLM's own n-gram rule on one row, compiled when it is first asked for."""
    least, most = NGRAM_MATCH
    limit = vllm_config.model_config.max_model_len

    def draft(tokens: Tokens, longest: int) -> list[int]:
        from vllm.v1.spec_decode.ngram_proposer import (
            _find_longest_matched_ngram_and_propose_tokens as propose,
        )

        return propose(tokens, least, most, limit, min(longest, NGRAM_TOKENS)).tolist()

    return draft
