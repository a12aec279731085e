"""Questions with gold answers from JSON Lines in the shapes of the usual sets (GSM8K, MATH, AMC, ARC, our own)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonprune.errors import PoolError

QUESTION_KEYS = ("question", "problem", "instruction", "prompt")
GOLD_KEYS = ("gold", "answer", "final_answer")


@dataclass(frozen=True)
class Question:
    """A question and its gold answer, both as text."""

    question: str
    gold: str


def read_dataset(path: Path, limit: int | None = None) -> list[Question]:
    """The first `limit` questions, all when None. Raises PoolError naming the line that is not usable."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise PoolError(f"The dataset {path} cannot be read: {error.strerror}.") from None
    questions = [_question(path, number, line) for number, line in enumerate(lines[:limit], 1)]
    if not questions:
        raise PoolError(f"The dataset {path} holds no questions.")
    return questions


def _question(path: Path, number: int, line: str) -> Question:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise PoolError(f"{path}, line {number}: not JSON ({error}).") from None
    row = row if isinstance(row, dict) else {}
    question = next((row[key] for key in QUESTION_KEYS if row.get(key)), None)
    gold = next((row[key] for key in GOLD_KEYS if row.get(key) is not None), None)
    if question is None or gold is None:
        wanted = f"one of {', '.join(QUESTION_KEYS)} and one of {', '.join(GOLD_KEYS)}"
        raise PoolError(f"{path}, line {number}: expected an object with {wanted}.")
    # GSM8K writes the solution and its answer into one field.
    return Question(str(question), str(gold).rpartition("####")[2].strip())
