"""Sentence embeddings, each text computed once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, Literal, Protocol

import numpy as np

from reasonprune.errors import ModelError

DEFAULT_ENCODER = "minilm"
KEPT_TEXTS = 100_000  # vectors kept in memory; at 384 dimensions 150 MB
BATCH = 64
_LOADING = Lock()


class Encoder(Protocol):
    """Turns texts into unit vectors."""

    def encode(self, texts: Sequence[str]) -> Any:
        """Float32 array, one row a text, each of length one."""
        ...


class SentenceEncoder:
    """A sentence-transformers model on the CPU, since GPUs are the engine's: a short name, a folder or a hub id.

    `reads`: which part of a text that is longer than the model's window (minilm: 256 word pieces). Safe to use from
    several threads.
    """

    def __init__(self, name: str = DEFAULT_ENCODER, reads: Literal["beginning", "end"] = "beginning") -> None:
        """Raises ModelError where the model or the package is not there."""
        from reasonprune.models import resolve_encoder

        folder = resolve_encoder(name)
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise ModelError(
                "Sentence embeddings need sentence-transformers: pip install sentence-transformers, which the extras"
                " `judge` and `graph` of reasonprune bring."
            ) from None
        logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
        self._model: Any = SentenceTransformer(str(folder), device="cpu")
        # A word piece is seldom longer; what lies before would be tokenized for nothing.
        self._most = 16 * (self._model.max_seq_length or 512) if reads == "end" else None
        if reads == "end":
            self._model.tokenizer.truncation_side = "left"
        self._known: dict[str, Any] = {}
        self._lock = Lock()  # a fast tokenizer cannot be used by two threads at once

    def encode(self, texts: Sequence[str]) -> Any:
        texts = [text[-self._most :] for text in texts] if self._most else texts
        with self._lock:
            fresh = list(dict.fromkeys(text for text in texts if text not in self._known))
            if len(self._known) + len(fresh) > KEPT_TEXTS:
                self._known.clear()
                fresh = list(dict.fromkeys(texts))
            if fresh:
                rows = self._model.encode(fresh, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
                self._known.update(zip(fresh, np.asarray(rows, dtype=np.float32), strict=True))
            return np.stack([self._known[text] for text in texts]) if texts else np.zeros((0, 1), np.float32)

    def __call__(self, texts: Sequence[str]) -> Any:
        return self.encode(texts)


@lru_cache(maxsize=4)
def _loaded(name: str, reads: Literal["beginning", "end"]) -> SentenceEncoder:
    return SentenceEncoder(name, reads)


def shared_encoder(name: str = DEFAULT_ENCODER, reads: Literal["beginning", "end"] = "beginning") -> SentenceEncoder:
    """The encoder of this name, loaded once in a process, which takes seconds. Raises ModelError."""
    with _LOADING:
        return _loaded(name, reads)
