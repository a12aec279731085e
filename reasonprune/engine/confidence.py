"""DeepConf's token confidence (arXiv 2508.15260), from the log-probabilities that vLLM gives for one position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TOP_LOGPROBS = 20


def token_confidence(position: Mapping[int, Any]) -> float:
    """The negative mean log-probability of the 20 likeliest tokens; the sampled token does not count beyond them."""
    likeliest = [entry.logprob for entry in position.values() if (entry.rank or 0) <= TOP_LOGPROBS]
    return -sum(likeliest) / len(likeliest)
