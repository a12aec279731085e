"""Questions told apart, and divided into training, validation and test, by their text alone."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "validation", "test"]


def question_digest(question: str) -> str:
    """Tells questions apart by their text, so that one question in two files is one question."""
    return hashlib.sha256(question.encode()).hexdigest()[:12]


def split_by_text(text: str, train: float, validation: float) -> Split:
    """Its part, by a hash of the text: the same in every file. `train`, `validation`: shares of all."""
    place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    if place < train:
        return "train"
    return "validation" if place < train + validation else "test"
