"""The datastore: token sequences on disk whose continuations are drafts. Any number of readers, one writer at a time.

A folder of immutable segments and a manifest. A writer adds a segment and replaces the manifest, so that readers see
either state whole; segments that are replaced or evicted are unlinked and live on where they are still mapped.
Segments are merged as they grow, so that a lookup visits few of them, and the oldest go when the bound is exceeded.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonprune.errors import DatastoreError
from reasonprune.speculative import manifest as manifests
from reasonprune.speculative.fusion import DECAY, Continuation
from reasonprune.speculative.manifest import Manifest
from reasonprune.speculative.segment import (
    MOST_TOKENS,
    SEPARATOR,
    Segment,
    Words,
    documents_of,
    write_segment,
)
from reasonprune.speculative.tree import Source

LOCK = "lock"
SHARE_OF_BOUND = 8  # no segment takes more than this part of a bounded store, so that evicting one loses little
LEAST_BOUND = 8192  # tokens

Document = Sequence[int] | NDArray[np.int64]


class Datastore:
    """An open datastore. Lookups see the manifest of the last `refresh`."""

    def __init__(self, folder: Path, fingerprint: str | None = None, verify: bool = True) -> None:
        """`fingerprint`: of the tokenizer whose ids will be looked up; `verify`: read all of it and compare checksums.

        Raises:
            DatastoreError: none there, another tokenizer's, truncated or corrupt; says which and what to do.
        """
        self.folder = folder
        self._fingerprint = fingerprint
        self._verify = verify
        self._open: dict[str, Segment] = {}
        self._read()

    @classmethod
    def create(
        cls, folder: Path, model: str, fingerprint: str, vocabulary: int, max_tokens: int | None = None
    ) -> Datastore:
        """An empty datastore; `vocabulary`: token ids are below it. Raises DatastoreError where one is there."""
        if (folder / manifests.FILE).exists():
            raise DatastoreError(f"{folder} holds a datastore already; use `reasonprune datastore add`, or remove it.")
        if max_tokens is not None and max_tokens < LEAST_BOUND:
            raise DatastoreError(f"max_tokens is {max_tokens}; the least is {LEAST_BOUND}.", "max_tokens")
        made = Manifest(model=model, fingerprint=fingerprint, vocabulary=vocabulary, max_tokens=max_tokens)
        with _as_datastore_error(folder, "create"):
            folder.mkdir(parents=True, exist_ok=True)
            manifests.save(folder, made)
        return cls(folder)

    @property
    def tokens(self) -> int:
        return self.manifest.tokens

    @property
    def size(self) -> int:
        """Bytes on disk, of all segments."""
        return sum(segment.size for segment in self.manifest.segments)

    @property
    def open_segments(self) -> Mapping[str, Segment]:
        """By file name, the oldest first."""
        return self._open

    def refresh(self) -> bool:
        """Take up what other processes wrote; whether there was anything. Costs one `stat` where there was not."""
        if self._stat() == self._stamp:
            return False
        self._read()
        return True

    def continuations(self, context: Sequence[int], length: int, most: int, least: int = 2) -> list[Continuation]:
        """What followed the longest matches of the context's end, as `matching.continuations` gives it.

        Of more matches than `most`, evenly spaced ones are taken, which keep the shares of what follows.
        """
        levels = [
            (matched, segment, found)
            for segment in self._open.values()
            for matched, found in segment.occurrences(context)
            if matched >= least
        ]
        if not levels:
            return []
        longest = max(matched for matched, _, _ in levels)
        taken: dict[str, set[int]] = {}
        continuations: list[Continuation] = []
        for matched, segment, found in sorted(levels, key=lambda level: -level[0]):
            room = most - len(continuations)
            if room <= 0:
                break
            seen = taken.setdefault(segment.entry.file, set())
            weight = DECAY ** (longest - matched) * max(1.0, len(found) / most)
            for i in found[:: max(1, len(found) // most)][:room]:
                if i not in seen and (tokens := segment.continuation(i, length)):
                    seen.add(i)
                    continuations.append(Continuation(tokens, matched, Source.STORE, weight))
        return continuations

    def add(self, documents: Iterable[Document], wait_s: float = 30.0) -> int:
        """Append documents, merge and evict; returns the tokens added. All of it happens or none.

        Raises:
            DatastoreError: another writer holds the store for longer than `wait_s`, an id is outside the vocabulary,
                or the disk is full; the datastore is as it was before.
        """
        with self._writer(wait_s):
            self._read()  # whatever the stamp says: a clock's tick has room for two writes
            before = {segment.file for segment in self.manifest.segments}
            added, after = 0, self.manifest
            written: list[str] = []
            try:
                with _as_datastore_error(self.folder, "grow"):
                    for batch in _batches(documents, self.manifest.vocabulary, self._limit()):
                        after = self._appended(after, batch, written)
                        added += sum(len(document) for document in batch)
                    after = _evicted(after)
                    if after != self.manifest:
                        manifests.save(self.folder, after)
            except BaseException:
                self._remove(set(written) - before)
                raise
            self._remove((before | set(written)) - {segment.file for segment in after.segments})
            self._read()
        return added

    def _appended(self, manifest: Manifest, batch: list[Words], written: list[str]) -> Manifest:
        """With a new segment of `batch`, which takes in neighbours of less than twice its size."""
        segments = list(manifest.segments)
        documents, tokens = batch, sum(len(document) for document in batch)
        while segments and segments[-1].tokens < 2 * tokens and segments[-1].tokens + tokens <= self._limit():
            entry = segments.pop()
            documents = documents_of(Segment(self.folder, entry, verify=False).words) + documents
            tokens += entry.tokens
        name = f"{manifest.written:08}.segment"
        written.append(name)
        segments.append(write_segment(self.folder, name, documents))
        return manifest.model_copy(update={"segments": segments, "written": manifest.written + 1})

    def _limit(self) -> int:
        bound = self.manifest.max_tokens
        return MOST_TOKENS if bound is None else min(MOST_TOKENS, bound // SHARE_OF_BOUND)

    def _read(self) -> None:
        """Take up the manifest and map its segments.

        A writer may replace both in between: a segment that is gone under a newer manifest is no damage. What was
        mapped until then is kept, so that each further try has less to read.
        """
        known = dict(self._open)
        while True:
            stamp = self._stat()  # before the manifest is read: what changes after it is seen by the next refresh
            manifest = self._load()
            try:
                for entry in manifest.segments:
                    if entry.file not in known or known[entry.file].entry != entry:
                        known[entry.file] = Segment(self.folder, entry, self._verify)
                break
            except DatastoreError:
                if self._stat() == stamp:
                    raise
        self.manifest, self._stamp = manifest, stamp
        self._open = {entry.file: known[entry.file] for entry in manifest.segments}

    def _load(self) -> Manifest:
        manifest = manifests.load(self.folder)
        if self._fingerprint not in (None, manifest.fingerprint):
            raise DatastoreError(
                f"The datastore {self.folder} was built with the tokenizer of '{manifest.model}', whose token ids mean"
                " other words than this model's. Build one with this model:"
                " `reasonprune datastore build STORE --model MODEL --data FILE`."
            )
        return manifest

    def _stat(self) -> tuple[int, int]:
        try:
            found = (self.folder / manifests.FILE).stat()
        except OSError:
            return (0, 0)  # reading it will say what is wrong
        return found.st_mtime_ns, found.st_ino

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()

    @contextlib.contextmanager
    def _writer(self, wait_s: float) -> Iterator[None]:
        """The lock is the kernel's: it goes with its process, however that ends."""
        with _as_datastore_error(self.folder, "grow"):
            lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            deadline = time.monotonic() + wait_s
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if error.errno not in (errno.EAGAIN, errno.EACCES):
                        raise
                if time.monotonic() >= deadline:
                    raise DatastoreError(
                        f"Another process is writing to the datastore {self.folder}; gave up after {wait_s:g} s. Try"
                        " again when it is done."
                    )
                time.sleep(0.02)
            yield
        finally:
            os.close(lock)


def _batches(documents: Iterable[Document], vocabulary: int, limit: int) -> Iterator[list[Words]]:
    """Documents as arrays, in batches of up to `limit` tokens; longer documents are cut."""
    batch: list[Words] = []
    held = 0
    for document in documents:
        ids = np.asarray(document, dtype=np.int64)
        if len(ids) and not (ids.min() >= 0 and ids.max() < min(vocabulary, SEPARATOR)):
            wrong = int(ids.max() if ids.max() >= vocabulary else ids.min())
            raise DatastoreError(f"The token id {wrong} is outside the vocabulary of {vocabulary:,} tokens.")
        for start in range(0, len(ids), limit):
            piece = ids[start : start + limit].astype(np.uint32)
            if batch and held + len(piece) > limit:
                yield batch
                batch, held = [], 0
            batch.append(piece)
            held += len(piece)
    if batch:
        yield batch


def _evicted(manifest: Manifest) -> Manifest:
    """Without the oldest segments, while the bound is exceeded."""
    segments = list(manifest.segments)
    if manifest.max_tokens is not None:
        while len(segments) > 1 and sum(segment.tokens for segment in segments) > manifest.max_tokens:
            segments.pop(0)
    return manifest.model_copy(update={"segments": segments})


@contextlib.contextmanager
def _as_datastore_error(folder: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = " Free some space, or set a bound with --max-tokens." if full else ""
        raise DatastoreError(
            f"The datastore {folder} could not {verb}: {error.strerror}. It is as it was before.{remedy}"
        ) from error
