"""Conversations as the token ids that a model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def prompt_ids(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """The conversation in the model's chat template, up to where the assistant begins to write; none for none."""
    if not messages:
        return []
    rows = [dict(message) for message in messages]
    encoded = tokenizer.apply_chat_template(rows, add_generation_prompt=True, tokenize=True, return_dict=True)
    return list(encoded["input_ids"])
