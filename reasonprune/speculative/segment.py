"""One immutable piece of a datastore: tokens, and their positions in the order of what precedes them.

The order is a suffix array of the reversed text, cut at `DEPTH` tokens: all positions with the same last token lie
together, among them all with the same last two, and so on. One descent finds the longest match and every shorter one.
Token ids take 32 bits, whatever the vocabulary.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from reasonprune.errors import DatastoreError

DEPTH = 16  # tokens of context that are ordered and compared
SEPARATOR = 0xFFFFFFFF  # between documents; no token id
WORD = 4  # bytes of a token and of a position
MOST_TOKENS = 16_000_000  # of one segment: a build holds about 40 bytes a token in memory

Words = NDArray[np.uint32]


class SegmentEntry(BaseModel):
    """A segment in the manifest. `tokens` are those of documents; `words` the length of the token array in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    file: str
    documents: int
    tokens: int
    words: int
    positions: int
    sha256: str

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return WORD * (self.words + self.positions)


def joined(documents: Sequence[Words]) -> Words:
    """All documents in one array: `DEPTH` separators, then each document and a separator."""
    parts = [np.full(DEPTH, SEPARATOR, np.uint32)]
    for document in documents:
        parts += [document, np.full(1, SEPARATOR, np.uint32)]
    return np.concatenate(parts)


def documents_of(words: Words) -> list[Words]:
    """The inverse of `joined`; empty documents are lost."""
    ends = np.flatnonzero(words == SEPARATOR)
    starts = np.concatenate([[0], ends[:-1] + 1])
    return [words[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True) if end > start]


def context_order(words: Words) -> Words:
    """Positions p ordered by (words[p], words[p-1], ..., words[p-DEPTH+1]); only those with a token before and after.

    Prefix doubling: ranks by 2 tokens give ranks by 4, those by 8, those by 16; each is one sort of 64-bit keys.
    """
    rank, reach = words.astype(np.uint64), 1
    order = np.empty(0, np.intp)
    while reach < DEPTH:
        before = np.full_like(rank, SEPARATOR)
        before[reach:] = rank[:-reach]
        keys = (rank << np.uint64(32)) | before
        order = np.argsort(keys)
        keys = keys[order]
        rank[order] = np.concatenate([[0], np.cumsum(keys[1:] != keys[:-1])]).astype(np.uint64)
        reach *= 2
    useful = words != SEPARATOR
    useful[:-1] &= words[1:] != SEPARATOR
    useful[-1] = False
    return order[useful[order]].astype(np.uint32)


def write_segment(folder: Path, name: str, documents: Sequence[Words]) -> SegmentEntry:
    """Write a segment to the disk's own satisfaction. Nothing is left behind where that fails (OSError)."""
    words = joined(documents)
    order = context_order(words)
    digest = hashlib.sha256()
    target = folder / name
    partial = target.with_name(name + ".partial")
    try:
        with partial.open("wb") as file:
            for array in (words, order):
                digest.update(array.data)
                file.write(array.data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    tokens = sum(len(document) for document in documents)
    return SegmentEntry(
        file=name,
        documents=len(documents),
        tokens=tokens,
        words=len(words),
        positions=len(order),
        sha256=digest.hexdigest(),
    )


class Segment:
    """A segment file in memory-mapped form, shared with every other process that has it open."""

    def __init__(self, folder: Path, entry: SegmentEntry, verify: bool = True) -> None:
        """Raises DatastoreError where the file is gone, truncated or (with `verify`) not what was written."""
        self.entry = entry
        path = folder / entry.file
        try:
            with path.open("rb") as file:
                held = os.fstat(file.fileno()).st_size
                if held != entry.size:
                    raise DatastoreError(
                        f"The segment {path} holds {held:,} bytes and should hold {entry.size:,}: it was truncated or"
                        " overwritten. Build the datastore anew."
                    )
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise DatastoreError(
                f"The segment {path} cannot be read ({error.strerror}). Build the datastore anew."
            ) from None
        if verify and hashlib.sha256(self._map).hexdigest() != entry.sha256:
            raise DatastoreError(
                f"The segment {path} is corrupt: its SHA-256 is not the one in the manifest. Build the datastore anew."
            )
        view = memoryview(self._map).cast("I")
        self._words, self._order = view[: entry.words], view[entry.words :]

    @property
    def words(self) -> Words:
        return np.frombuffer(self._words, np.uint32)

    def occurrences(self, context: Sequence[int]) -> Iterator[tuple[int, range]]:
        """(matched, range of the order) from one token of context to the longest match; each range holds the next."""
        words, order = self._words, self._order
        found = range(len(order))
        for depth in range(min(DEPTH, len(context))):
            token = context[-1 - depth]

            def key(i: int, depth: int = depth) -> int:
                return words[order[i] - depth]

            low = bisect_left(found, token, key=key)
            high = bisect_right(found, token, lo=low, key=key)
            if low == high:
                return
            found = found[low:high]
            yield depth + 1, found

    def continuation(self, i: int, length: int) -> list[int]:
        """Up to `length` tokens that follow the i-th position of the order, within its document."""
        start = self._order[i] + 1
        tokens = self._words[start : start + length].tolist()
        return tokens[: tokens.index(SEPARATOR)] if SEPARATOR in tokens else tokens
