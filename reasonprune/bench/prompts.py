"""Prompts of one or more turns with the task they belong to, from JSON Lines: Spec-Bench's format, or questions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from reasonprune.bench.dataset import QUESTION_KEYS
from reasonprune.errors import PoolError

# Spec-Bench's first task is MT-Bench, whose rows name its eight subjects.
MULTI_TURN = ["writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"]
TASKS = dict.fromkeys(MULTI_TURN, "multi-turn") | {"math_reasoning": "maths", "summarization": "summarisation"}


@dataclass(frozen=True)
class Prompt:
    """What a user says in turn; the model answers after each."""

    task: str
    turns: tuple[str, ...]


def read_prompts(path: Path, limit: int | None = None) -> list[Prompt]:
    """All prompts, or `limit` of them, spread over the tasks in turn. Raises PoolError naming the unusable line."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise PoolError(f"The prompts {path} cannot be read: {error}.") from None
    by_task: dict[str, list[Prompt]] = {}
    for number, line in enumerate(lines, 1):
        prompt = _prompt(path, number, line)
        by_task.setdefault(prompt.task, []).append(prompt)
    spread = [prompt for round_ in zip_longest(*by_task.values()) for prompt in round_ if prompt is not None]
    if not spread:
        raise PoolError(f"The file {path} holds no prompts.")
    return spread[:limit]


def _prompt(path: Path, number: int, line: str) -> Prompt:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise PoolError(f"{path}, line {number}: not JSON ({error}).") from None
    row = row if isinstance(row, dict) else {}
    turns = row.get("turns") or [next((row[key] for key in QUESTION_KEYS if row.get(key)), None)]
    if not isinstance(turns, list) or not all(isinstance(turn, str) and turn for turn in turns):
        wanted = f"turns (a list of texts) or one of {', '.join(QUESTION_KEYS)}"
        raise PoolError(f"{path}, line {number}: expected an object with {wanted}.")
    task = str(row.get("category") or row.get("task") or "all")
    return Prompt(TASKS.get(task, task), tuple(turns))
