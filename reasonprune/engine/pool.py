"""Pools of recorded traces: our JSON Lines and the Parallel-Probe format, read into one shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from reasonprune.answers import AnswerClasses, MathChecker, canonical
from reasonprune.errors import PoolError
from reasonprune.selfeval.score import SelfScore

NO_ANSWER = (None, "", "ERR")  # Parallel-Probe writes ERR where no answer could be read


@dataclass(frozen=True)
class RecordedTrace:
    """One trace: its length in tokens, its final answer's equivalence class, and what was recorded on the way."""

    tokens: int
    answer: str | None
    probes: dict[int, str | None] = field(default_factory=dict)  # tokens -> answer forced there
    confidences: tuple[float, ...] | None = None
    text: str | None = None
    scores: dict[int, SelfScore] = field(default_factory=dict)  # tokens -> self-evaluation there


@dataclass(frozen=True)
class RecordedQuestion:
    """One question with its gold answer's class and all traces that were recorded of it."""

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
    class_of: dict[str, str] = {}
    form_of = cache(canonical)  # probes repeat a few answers thousands of times

    def classify(answer: Any) -> str | None:
        if answer in NO_ANSWER:
            return None
        form = form_of(str(answer))
        class_of.setdefault(form, classes.add(form))
        return class_of[form]

    def classify_probe(answer: Any) -> str | None:
        # Many are half-thought formulas: by canonical form alone, the checker would take minutes.
        if answer in NO_ANSWER:
            return None
        form = form_of(str(answer))
        return class_of.get(form, form)

    try:
        gold = classify(row.get("gold", row.get("gold_answer")))
        traces = list(_branches(row) if "each_branch" in row else map(_own_trace, row["traces"]))
        # All final answers before any probe, since they make the classes.
        traces = [replace(trace, answer=classify(trace.answer)) for trace in traces]
        for i, trace in enumerate(traces):
            probes = {at: classify_probe(answer) for at, answer in trace.probes.items()}
            traces[i] = replace(trace, probes=probes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PoolError(f"{path}, question {index}: malformed trace ({type(error).__name__}: {error}).") from None
    if not traces:
        raise PoolError(f"{path}, question {index}: no traces.")
    return RecordedQuestion(str(row.get("question", "")), gold, tuple(traces))


def _branches(row: dict[str, Any]) -> Iterator[RecordedTrace]:
    """Probe k was made at (k + 1) * every tokens; those at or past the end of a trace repeat its final answer."""
    every = int(row["probe_freq"])
    for probes, tokens, answer in row["each_branch"]:
        if int(tokens) < 0:
            raise ValueError(f"a length of {tokens} tokens")
        yield RecordedTrace(int(tokens), answer, dict(zip(range(every, int(tokens), every), probes, strict=False)))


def _own_trace(trace: dict[str, Any]) -> RecordedTrace:
    confidences = trace.get("confidences")
    answer = trace["answer"]
    return RecordedTrace(
        tokens=len(trace["token_ids"]),
        # A trace that was cut off has no answer of its own, whatever number its last line holds.
        answer=answer if trace.get("finish_reason") != "length" else None,
        probes={int(tokens): probe for tokens, probe in trace.get("probes") or ()},
        confidences=tuple(confidences) if confidences else None,
        text=trace.get("text"),
        scores={int(tokens): SelfScore(*score) for tokens, *score in trace.get("scores") or ()},
    )
