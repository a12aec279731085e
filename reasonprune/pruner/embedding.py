"""Sentence vectors of an encoder as it is: the rival by cosine in the benchmarks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from reasonprune.pruner.reading import device_of, lowered
from reasonprune.pruner.weights import open_encoder

MAX_TOKENS = 256


class Embedder:
    """Mean of the token states, of length 1, as all-MiniLM-L6-v2 was trained to be used."""

    def __init__(self, base: str, device: str | None = None) -> None:
        self.tokenizer, encoder = open_encoder(base)
        self.device = device_of(device)
        self.encoder = encoder.to(self.device)

    def vectors(self, texts: Iterable[str], batch_size: int = 64) -> dict[str, Tensor]:
        """A vector for each distinct text."""
        ordered = sorted(set(texts), key=len)
        found: dict[str, Tensor] = {}
        for begin in range(0, len(ordered), batch_size):
            batch = ordered[begin : begin + batch_size]
            inputs = self.tokenizer(batch, truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt")
            inputs = inputs.to(self.device)
            with torch.inference_mode(), lowered(self.device):
                states = self.encoder(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"][..., None]
            means = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
            found |= dict(zip(batch, means.cpu(), strict=True))
        return found
