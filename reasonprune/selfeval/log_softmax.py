"""Log-probabilities of many rows of logits, at the speed that the caches of a CPU allow."""

from __future__ import annotations

import torch

IN_CACHE = 1 << 18  # logits that a core's cache holds


def log_softmax(logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """In float32, of logits (rows, vocabulary), in parts of as many rows as stay in the cache of a CPU's core.

    Of a large vocabulary that is one row; all at once, its exponentials would go through memory several times.
    """
    at_once = max(1, IN_CACHE // logits.shape[1]) if logits.device.type == "cpu" else max(1, len(logits))
    return tuple(part.log_softmax(1, dtype=torch.float32) for part in logits.split(at_once))


def gather(parts: tuple[torch.Tensor, ...], tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Those of one token in each row, in parts (rows, 1); `tokens`: (rows, 1)."""
    of_parts = tokens.long().split(len(parts[0]))
    return tuple(part.gather(1, chosen) for part, chosen in zip(parts, of_parts, strict=True))
