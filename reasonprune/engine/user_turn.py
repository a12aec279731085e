"""What a user says to get a question reasoned about."""

from __future__ import annotations

_MATHS = "{question}\nPlease reason step by step, and put your final answer within \\boxed{{}}."


def user_turn(question: str, model: str) -> str:
    """TinyReasoner takes its problem as it is; all other models are told to reason and to box the answer."""
    return question if model == "tiny" else _MATHS.format(question=question)
