"""Documents for a datastore: plain text, JSON Lines of texts or token ids, and pools of recorded traces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reasonprune.errors import DatastoreError

FIELDS = ("text", "output", "response", "completion", "content", "answer", "solution", "question")
IDS = "token_ids"
CHUNK = 1 << 20  # characters of plain text that are tokenized at once, cut at a line's end


def documents(path: Path, tokenizer: Any, fields: Sequence[str] = ()) -> Iterator[list[int]]:
    """Token ids of every document of a file.

    `.jsonl`: of each line the texts under `fields`, else under every one of `FIELDS` that it has, the ids under
    `token_ids`, and the texts of its `traces` (`reasonprune record`). Any other file is one text.

    Raises:
        DatastoreError: the file cannot be read, or a line has nothing that could be used; names the line.
    """
    try:
        with path.open(encoding="utf-8") as file:
            if path.suffix == ".jsonl":
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield from _of_line(path, number, line, tokenizer, fields)
            else:
                while lines := file.readlines(CHUNK):
                    yield _ids(tokenizer, "".join(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise DatastoreError(f"{path} cannot be read: {error}.") from None


def _of_line(path: Path, number: int, line: str, tokenizer: Any, fields: Sequence[str]) -> Iterator[list[int]]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise DatastoreError(f"{path}, line {number}: not JSON ({error}).") from None
    row = row if isinstance(row, dict) else {}
    found = [row[name] for name in fields or FIELDS if isinstance(row.get(name), str) and row[name]]
    if not fields:
        traces = row.get("traces")
        found += [
            trace["text"]
            for trace in (traces if isinstance(traces, list) else ())
            if isinstance(trace, dict) and isinstance(trace.get("text"), str)
        ]
    ids = row.get(IDS)
    has_ids = isinstance(ids, list) and all(type(token) is int for token in ids)
    if not found and not has_ids:
        wanted = ", ".join(fields) if fields else f"{', '.join(FIELDS)}, traces or {IDS}"
        raise DatastoreError(f"{path}, line {number}: no text. Expected an object with one of: {wanted} (--field).")
    if has_ids:
        yield ids
    for text in found:
        yield _ids(tokenizer, text)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))
