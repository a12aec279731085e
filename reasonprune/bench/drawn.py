"""Traces drawn for `reasonprune bench self-eval`, their scores, and what the scores cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reasonprune.answers import AnswerClasses, MathChecker, extract_answer
from reasonprune.bench.dataset import Question
from reasonprune.selfeval.score import Evaluation, SelfScore

SHARES = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Draws:
    """How traces are sampled: `n` a question."""

    n: int
    temperature: float
    top_p: float
    max_tokens: int
    seed: int = 0

    def seed_of(self, question: int, trace: int) -> int:
        """Of one trace, the same whatever runs beside it."""
        return self.seed + 1_000_003 * (question + 1) + trace


@dataclass
class Drawn:
    """One trace: its text, and what was made of its answer; `scores` at each of SHARES.

    `token_ids` is empty where a server on the other side of HTTP wrote it.
    """

    token_ids: tuple[int, ...]
    text: str
    answer: str | None
    right: bool
    scores: dict[float, SelfScore | None] = field(default_factory=dict)

    def cut(self, share: float) -> int:
        """Tokens at a share of the length, at least one and never all."""
        return max(1, min(len(self.token_ids) - 1, round(len(self.token_ids) * share)))


@dataclass
class Cost:
    """Of all checks: their number, tokens and wall-clock; `step_ms` is what the value head took inside the steps."""

    checks: int = 0
    ms: float = 0.0
    generated: int = 0
    prompted: int = 0
    step_ms: float = 0.0
    sampled_tokens: int = 0

    def add(self, evaluation: Evaluation, ms: float) -> None:
        """Of one round of checks."""
        self.ms += ms
        self.checks += len(evaluation.scores)
        self.generated += evaluation.generated
        self.prompted += evaluation.prompted


class Subject(Protocol):
    """The model that is asked: writes traces of a question, and scores them."""

    async def draw(self, question: Question, index: int, cost: Cost) -> list[Drawn]:
        """The traces of one question; `index` tells questions apart and goes into the seeds."""
        ...

    async def score(self, question: Question, index: int, traces: Sequence[Drawn], cost: Cost) -> None:
        """Enters the scores of all traces at each share."""
        ...


class Grader:
    """Compares the answers of one question's traces with each other and with the gold answer."""

    def __init__(self, checker: MathChecker, question: Question) -> None:
        self._classes = AnswerClasses(checker)
        self._gold = self._classes.add(question.gold)

    async def drawn(self, token_ids: Sequence[int], text: str, finished: bool) -> Drawn:
        """A trace that did not finish has no answer."""
        found = extract_answer(text) if finished else None
        answer = await self._classes.add_async(found) if found is not None else None
        return Drawn(tuple(token_ids), text, answer, answer is not None and answer == self._gold)
