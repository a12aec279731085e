"""What a datastore's folder holds: the list of its segments, under a checksum of its own."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from reasonprune.errors import DatastoreError
from reasonprune.speculative.segment import SegmentEntry

FILE = "manifest.json"
VERSION = 1


class Manifest(BaseModel):
    """`fingerprint` is that of the tokenizer; `max_tokens` bounds all segments together, the oldest go first."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: int = VERSION
    model: str
    fingerprint: str
    vocabulary: int
    max_tokens: int | None = None
    written: int = 0  # segments ever written; names the next one
    segments: list[SegmentEntry] = []

    @property
    def tokens(self) -> int:
        return sum(segment.tokens for segment in self.segments)


def _checksum(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def save(folder: Path, manifest: Manifest) -> None:
    """Replaces the manifest in one step: readers see the old one or the new one (OSError: the old one)."""
    content = manifest.model_dump_json()
    partial = folder / (FILE + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"sha256": _checksum(content), "content": content}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / FILE)


def load(folder: Path) -> Manifest:
    """Raises DatastoreError where there is no datastore, or one that was damaged or written by another version."""
    path = folder / FILE
    try:
        outer = json.loads(path.read_text(encoding="utf-8"))
        content, checksum = outer["content"], outer["sha256"]
    except FileNotFoundError:
        raise DatastoreError(
            f"{folder} is not a datastore: it has no {FILE}. `reasonprune datastore build` makes one."
        ) from None
    except OSError as error:
        raise DatastoreError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise DatastoreError(f"{path} is corrupt: not a manifest. Build the datastore anew.") from None
    if _checksum(content) != checksum:
        raise DatastoreError(f"{path} is corrupt: its checksum does not match. Build the datastore anew.")
    found = json.loads(content).get("version")
    if found != VERSION:
        raise DatastoreError(f"{path} has version {found}; this reasonprune reads {VERSION}. Build the datastore anew.")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise DatastoreError(f"{path} is not a manifest: {error.errors()[0]['msg']}.") from None
