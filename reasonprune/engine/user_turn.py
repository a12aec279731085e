"""What a user says to get a question reasoned about."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

_MATHS = "{question}\nPlease reason step by step, and put your final answer within \\boxed{{}}."


def user_turn(question: str, model: str) -> str:
    """TinyReasoner takes its problem as it is; all other models are told to reason and to box the answer."""
    return question if _is_tiny_reasoner(model) else _MATHS.format(question=question)


@lru_cache
def _is_tiny_reasoner(model: str) -> bool:
    """The one that ships, or one that `reasonprune train tiny-reasoner` has left its record with."""
    return model == "tiny" or (Path(model) / "training.json").is_file()
