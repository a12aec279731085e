"""Recorded traces as training data for self-evaluation: token ids, whether each is right, and a split by question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reasonprune.engine.pool import read_pool
from reasonprune.errors import PoolError
from reasonprune.train.splits import Split, question_digest, split_by_text

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of a trace's own tokens, at which scores are reported."""

TEST_SHARE = 0.3
VALIDATION_SHARE = 1 / 7
"""Of the questions that are not for testing."""


@dataclass(frozen=True)
class Sample:
    """One trace. `answer` is its equivalence class, None where it gave none; `ended`: by itself, not by a limit.

    `logprobs` is empty where the pool was recorded without.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    answer: str | None
    right: bool
    ended: bool = True

    def cut(self, share: float) -> int:
        """Its tokens at a share of its length; the last token, which ends it, is no longer read by the model."""
        return max(1, min(len(self.token_ids) - 1, round(len(self.token_ids) * share)))


@dataclass(frozen=True)
class SampledQuestion:
    """A question, its prompt's token ids, and the traces that the model drew of it."""

    question: str
    gold: str
    prompt_ids: tuple[int, ...]
    samples: tuple[Sample, ...]

    @property
    def digest(self) -> str:
        return question_digest(self.question)

    def unbeaten(self, sample: Sample) -> float:
        """How likely a fresh trace is no better: 1 where this one is right, else the share of others that are wrong."""
        right = sum(other.right for other in self.samples)
        return 1.0 if sample.right or not right else 1.0 - right / (len(self.samples) - 1)


def read_samples(file: Path) -> tuple[str, list[SampledQuestion]]:
    """The model that a pool of ours names, and its questions.

    Raises:
        PoolError: the pool is malformed, is not of ours, or its questions are of several models.
    """
    questions = read_pool(file)
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        rows = [json.loads(line) for line in lines]
        models = {str(row["model"]) for row in rows}
        sampled = [
            SampledQuestion(
                str(row["question"]),
                str(row["gold"]),
                tuple(row["prompt_token_ids"]),
                tuple(
                    Sample(
                        tuple(trace["token_ids"]),
                        tuple(trace.get("logprobs", ())),
                        record.answer,
                        known.correct(record.answer),
                        trace.get("finish_reason", "stop") == "stop",
                    )
                    for trace, record in zip(row["traces"], known.traces, strict=True)
                    if len(trace["token_ids"]) > 1
                ),
            )
            for row, known in zip(rows, questions, strict=True)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise PoolError(
            f"The pool {file} holds no token ids ({type(error).__name__}: {error}); record one "
            "with `reasonprune record`."
        ) from None
    if len(models) > 1:
        raise PoolError(f"The pool {file} is of several models ({', '.join(sorted(models))}); use one of one model.")
    return models.pop(), [question for question in sampled if question.samples]


def split_of(question: SampledQuestion, seed: int, test: float = TEST_SHARE) -> Split:
    """By a hash of the question's text: the same in every pool. `test`: share of all questions that only report."""
    validation = (1 - test) * VALIDATION_SHARE
    return split_by_text(f"{seed}/self-eval/{question.question}", 1 - test - validation, validation)


def split(
    questions: Sequence[SampledQuestion], seed: int, file: Path, test: float = TEST_SHARE
) -> dict[Split, list[SampledQuestion]]:
    """Every part with right and wrong traces in it, else PoolError. `test`: share that only reports."""
    parts: dict[Split, list[SampledQuestion]] = {"train": [], "validation": [], "test": []}
    for question in questions:
        parts[split_of(question, seed, test)].append(question)
    for part, members in parts.items():
        if len({sample.right for question in members for sample in question.samples}) < 2:
            raise PoolError(
                f"The {len(questions)} questions of {file.name} are too few: {len(members)} are for {part}, and their "
                "traces are not both right and wrong. Record more questions, or try another --seed."
            )
    return parts
