"""Where the chain of thought stands in a generated text, and where its tokens begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reasonprune.cot.steps import split_steps

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Located:
    """`text[start:end]` is the chain; `anchor` the visible answer; `marked`: it stood between think tags."""

    start: int
    end: int
    anchor: str
    marked: bool


def locate(text: str) -> Located:
    """The reasoning between think tags (an unclosed one reaches to the end), or, without tags, the whole text.

    Without tags the last step is taken for the visible answer.
    """
    opened = text.find(OPEN)
    closed = text.rfind(CLOSE)
    if opened < 0 and closed < 0:
        steps = split_steps(text)
        return Located(0, len(text), text[steps[-1].start :].strip() if steps else "", False)
    start = opened + len(OPEN) if 0 <= opened < (closed if closed >= 0 else len(text)) else 0
    end = closed if closed >= start else len(text)
    inner = text[start:end]
    start += len(inner) - len(inner.lstrip())
    end = max(start, end - (len(inner) - len(inner.rstrip())))
    return Located(start, end, text[closed + len(CLOSE) :].strip() if closed >= 0 else "", True)


def token_starts(tokenizer: Any, token_ids: Sequence[int], text: str) -> list[int] | None:
    """Where in `text` each of `token_ids` begins; special tokens at the end, which are no text, are left out.

    None where the tokens do not spell the text.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, starts = list(encoded["input_ids"]), [start for start, _ in encoded["offset_mapping"]]
    if ids == list(token_ids[: len(ids)]):
        return starts
    # The model may write a word in other tokens than the tokenizer would.
    starts, decoded = [], ""
    for count in range(1, len(token_ids) + 1):
        starts.append(len(decoded.rstrip("\ufffd")))
        decoded = tokenizer.decode(token_ids[:count], skip_special_tokens=True)
        if len(decoded.rstrip("\ufffd")) >= len(text):
            break
    return starts if decoded == text else None
