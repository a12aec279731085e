"""Finished responses as a source of drafts: the latest in memory, and in the datastore where it may grow."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reasonprune.errors import DatastoreError
from reasonprune.speculative.datastore import Datastore
from reasonprune.speculative.fusion import Continuation
from reasonprune.speculative.matching import continuations
from reasonprune.speculative.tree import Source

logger = logging.getLogger(__name__)

SEPARATOR = -1
MOST_TOKENS = 131_072  # searched at every step, so a bound on time: some 50 microseconds
FLUSH_TOKENS = 16_384


class Recent:
    """A bounded array of the latest responses, first in, first out."""

    def __init__(self, most_tokens: int = MOST_TOKENS) -> None:
        self._most = most_tokens
        self._held = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def tokens(self) -> NDArray[np.int32]:
        """All of them, with `SEPARATOR` after each response."""
        return self._held

    def add(self, tokens: NDArray[np.int32]) -> None:
        self._held = np.concatenate([self._held, tokens, [SEPARATOR]], dtype=np.int32)[-self._most :]

    def continuations(self, context: NDArray[np.int32], length: int, most: int) -> list[Continuation]:
        return continuations(self._held, context, length, most, Source.RECENT, separator=SEPARATOR)


class Growth:
    """Writes finished responses to a datastore from a thread of its own; a failure ends growth, never serving."""

    def __init__(self, store: Datastore, flush_tokens: int = FLUSH_TOKENS) -> None:
        self._writer = Datastore(store.folder, store.manifest.fingerprint, verify=False)
        self._flush_tokens = flush_tokens
        self._waiting: queue.SimpleQueue[Sequence[int] | None] = queue.SimpleQueue()
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._run, name="reasonprune-datastore", daemon=True)
        self._thread.start()

    def add(self, tokens: Sequence[int]) -> None:
        if self.failure is None:
            self._waiting.put(tokens)

    def close(self) -> None:
        """Write what is left and end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        held: list[Sequence[int]] = []
        while True:
            tokens = self._waiting.get()
            if tokens is not None:
                held.append(tokens)
            if held and (tokens is None or sum(map(len, held)) >= self._flush_tokens):
                try:
                    self._writer.add(held)
                except DatastoreError as error:
                    self.failure = error.message
                    logger.error("The datastore no longer grows: %s", error.message)
                    return
                held = []
            if tokens is None:
                return
