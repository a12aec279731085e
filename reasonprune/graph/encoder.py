"""Sentence embeddings, each text computed once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np

from reasonprune.errors import ModelError

DEFAULT_ENCODER = "minilm"
KEPT_TEXTS = 100_000  # vectors kept in memory; at 384 dimensions 150 MB
BATCH = 64


class Encoder(Protocol):
    """Turns texts into unit vectors."""

    def encode(self, texts: Sequence[str]) -> Any:
        """Float32 array, one row a text, each of length one."""
        ...


class SentenceEncoder:
    """A sentence-transformers model: a short name, a folder or a hub id. Safe to use from several threads."""

    def __init__(self, name: str = DEFAULT_ENCODER) -> None:
        """Raises ModelError where the model or the package is not there."""
        from reasonprune.models import resolve_encoder

        folder = resolve_encoder(name)
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise ModelError("Graphs need sentence-transformers: pip install 'reasonprune[graph]'.") from None
        logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
        self._model = SentenceTransformer(str(folder), device="cpu")
        self._known: dict[str, Any] = {}
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Any:
        with self._lock:
            fresh = list(dict.fromkeys(text for text in texts if text not in self._known))
            if len(self._known) + len(fresh) > KEPT_TEXTS:
                self._known.clear()
                fresh = list(dict.fromkeys(texts))
            if fresh:
                rows = self._model.encode(fresh, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
                self._known.update(zip(fresh, rows, strict=True))
            return np.stack([self._known[text] for text in texts]) if texts else np.zeros((0, 1), np.float32)


@cache
def shared_encoder(name: str = DEFAULT_ENCODER) -> SentenceEncoder:
    """One encoder a process and name: loading takes seconds."""
    return SentenceEncoder(name)
