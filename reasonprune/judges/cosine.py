"""The baseline among trained judges: how near two texts are to a sentence encoder (arXiv 2510.08483 has one, too)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reasonprune.judges.encoder import Embed, PerTrace, judged, sentence_encoder
from reasonprune.judges.judge import Judgement, Pair


def similarity(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of unit vectors [n, d] each: their cosines, -1 to 1, mapped to 0 to 1. [n]"""
    return (1 + (first * second).sum(1)) / 2


class CosineJudge:
    """Cosine of the embeddings of both texts, mapped to 0 to 1. It ranks pairs and is no probability.

    `encoder`: a short name, folder or hub id, or what turns texts into unit vectors. A model is loaded when first
    asked, or by `load`. One judge serves one question, whose traces it tells apart by their numbers.
    """

    def __init__(self, encoder: str | Embed = "minilm") -> None:
        self._encoder = encoder
        self._embeddings: PerTrace[NDArray[np.float32]] = PerTrace(
            lambda snapshots: list(self._embed()([snapshot.text for snapshot in snapshots]))
        )

    def load(self) -> None:
        """Loads the encoder. Raises ModelError."""
        self._embed()

    def _embed(self) -> Embed:
        return sentence_encoder(self._encoder) if isinstance(self._encoder, str) else self._encoder

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        return Judgement(await asyncio.to_thread(judged, pairs, self._similarities))

    def _similarities(self, pairs: Sequence[Pair]) -> list[float]:
        embeddings = self._embeddings(pairs)
        first, second = np.stack([a for a, _ in embeddings]), np.stack([b for _, b in embeddings])
        return [float(value) for value in similarity(first, second)]
