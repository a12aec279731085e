"""Telling tokenizers apart: the same id must mean the same piece of text, or drafts would be nonsense."""

from __future__ import annotations

import hashlib
import json
from typing import Any

PROBE = "Fewer tokens for the same answer: 12,345 + 678 = 13,023.\n\tDéjà vu? 你好, мир! <|im_end|> </s>"


def fingerprint(tokenizer: Any) -> str:
    """SHA-256 of the vocabulary and of how one text is cut, which merges and normalisation decide."""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))
    cut = tokenizer.encode(PROBE, add_special_tokens=False)
    return hashlib.sha256(json.dumps([vocabulary, cut]).encode()).hexdigest()


def vocabulary_size(tokenizer: Any) -> int:
    """One more than the largest id; added tokens may leave gaps below it."""
    return max(tokenizer.get_vocab().values()) + 1
