"""Pools of recorded traces: our JSON Lines and the Parallel-Probe format, read into one shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasonprune.answers import AnswerClasses, MathChecker, canonical
from reasonprune.errors import PoolError


@dataclass(frozen=True)
class RecordedTrace:
    """One trace: its length in tokens, its final answer's equivalence class, and what was recorded on the way."""

    tokens: int
    answer: str | None
    probes: dict[int, str | None] = field(default_factory=dict)  # tokens -> answer forced there
    confidences: tuple[float, ...] | None = None
    text: str | None = None


@dataclass(frozen=True)
class RecordedQuestion:
    question: str
    gold: str | None
    traces: tuple[RecordedTrace, ...]

    def correct(self, answer: str | None) -> bool:
        return answer is not None and answer == self.gold


def read_pool(path: Path) -> list[RecordedQuestion]:
    """Every question of a pool, with all answers of a question as equivalence classes (its gold answer included).

    Raises:
        PoolError: the file cannot be read, is in neither format, or holds no traces; names the question.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PoolError(f"The pool {path} cannot be read: {error}.") from None
    with MathChecker() as checker:
        questions = [_question(path, i, row, checker) for i, row in enumerate(_rows(path, text))]
    if not questions:
        raise PoolError(f"The pool {path} holds no questions.")
    return questions


def _rows(path: Path, text: str) -> Iterator[dict[str, Any]]:
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise PoolError(f"The pool {path} is neither a JSON list nor JSON Lines: {error}.") from None
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or not ("each_branch" in row or "traces" in row):
            raise PoolError(f"{path}, question {i}: an object with 'traces' or 'each_branch' is expected.")
        yield row


def _question(path: Path, index: int, row: dict[str, Any], checker: MathChecker) -> RecordedQuestion:
    classes = AnswerClasses(checker)
    seen: dict[str, str] = {}

    def classify(answer: Any) -> str | None:
        # Parallel-Probe writes ERR where no answer could be read.
        if answer in (None, "", "ERR"):
            return None
        form = canonical(str(answer))
        seen.setdefault(form, classes.add(form))
        return seen[form]

    def classify_probe(answer: Any) -> str | None:
        # Thousands of half-thought formulas: by canonical form alone, the checker would take minutes.
        if answer in (None, "", "ERR"):
            return None
        form = canonical(str(answer))
        return seen.get(form, form)

    try:
        gold = classify(row.get("gold", row.get("gold_answer")))
        if "each_branch" in row:
            every = int(row["probe_freq"])
            branches = [(probes, int(tokens), classify(answer)) for probes, tokens, answer in row["each_branch"]]
            traces = [
                RecordedTrace(tokens, answer, {at: classify_probe(probe) for at, probe in _probed(probes, every, tokens)})
                for probes, tokens, answer in branches
            ]
        else:
            traces = [_own_trace(trace, classify, classify_probe) for trace in row["traces"]]
    except (KeyError, TypeError, ValueError) as error:
        raise PoolError(f"{path}, question {index}: malformed trace ({type(error).__name__}: {error}).") from None
    if not traces:
        raise PoolError(f"{path}, question {index}: no traces.")
    return RecordedQuestion(str(row.get("question", "")), gold, tuple(traces))


def _probed(probes: list[Any], every: int, tokens: int) -> Iterator[tuple[int, Any]]:
    """Probe k was made at (k + 1) * every tokens; those at or past the end of a trace repeat its final answer."""
    return ((at, probe) for at, probe in zip(range(every, tokens, every), probes, strict=False))


Classify = Callable[[Any], "str | None"]


def _own_trace(trace: dict[str, Any], classify: Classify, classify_probe: Classify) -> RecordedTrace:
    confidences = trace.get("confidences")
    return RecordedTrace(
        tokens=len(trace["token_ids"]),
        # A trace that was cut off has no answer of its own, whatever number its last line holds.
        answer=classify(trace["answer"]) if trace.get("finish_reason") != "length" else None,
        probes={int(tokens): classify_probe(answer) for tokens, answer in trace.get("probes") or ()},
        confidences=tuple(confidences) if confidences else None,
        text=trace.get("text"),
    )
