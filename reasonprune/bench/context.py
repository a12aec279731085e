"""`reasonprune bench context`: does the answer survive pruning, and how much text goes?

The data are questions with contexts and answer spans (`reasonprune.train.evidence` says in which shapes). The pruner
decides at its threshold; BM25 and the base encoder's cosine, which have no natural threshold, are given the one at
which they remove as much as the pruner did, so that recalls compare at equal compression.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonprune.errors import DataError
from reasonprune.pruner.lexical import bm25
from reasonprune.pruner.process import ContextPruner
from reasonprune.train.evidence import Evidence, read_evidence

CHUNK = 32
"""Questions that are pruned together, so that batches are of like length."""


@dataclass(frozen=True)
class Case:
    """A question, its documents as sentences (the one with the answer first), and the answer's sentences there."""

    question: str
    documents: tuple[tuple[str, ...], ...]
    answer: tuple[int, ...]

    @property
    def sizes(self) -> list[int]:
        """Characters of every sentence, document after document."""
        return [len(sentence) for document in self.documents for sentence in document]


def cases(path: Path, distractors: int, limit: int | None, seed: int) -> list[Case]:
    """A case for each question that its context answers; distractors are contexts of other paragraphs of the file."""
    found = [example for example in read_evidence(path) if any(example.labels) and example.context.strip()]
    if not found:
        raise DataError(f"{path} holds no questions with answers.")
    contexts = list(dict.fromkeys(example.sentences for example in found))
    if distractors >= len(contexts):
        raise DataError(f"{path} holds {len(contexts)} contexts; {distractors} distractors are too many.")
    rng = random.Random(seed)
    return [_case(example, contexts, distractors, rng) for example in found][:limit]


def _case(example: Evidence, contexts: Sequence[tuple[str, ...]], distractors: int, rng: random.Random) -> Case:
    others = [one for one in rng.sample(contexts, min(len(contexts), distractors + 1)) if one != example.sentences]
    answer = tuple(i for i, label in enumerate(example.labels) if label)
    return Case(example.question, (example.sentences, *others[:distractors]), answer)


def measured(cases: Sequence[Case], values: Sequence[Sequence[float]], threshold: float) -> dict[str, float]:
    """Share of questions whose answer stays whole, and share of characters removed, over all questions."""
    recalled = kept = total = 0
    for case, row in zip(cases, values, strict=True):
        stays = [value > threshold for value in row]
        recalled += all(stays[i] for i in case.answer)
        kept += sum(size for size, one in zip(case.sizes, stays, strict=True) if one)
        total += sum(case.sizes)
    return {"recall": recalled / len(cases), "compression": 1 - kept / total}


def threshold_for(cases: Sequence[Case], values: Sequence[Sequence[float]], compression: float) -> float:
    """The threshold that removes this share of all characters, or the least above it."""
    pairs = sorted(
        (value, size)
        for case, row in zip(cases, values, strict=True)
        for value, size in zip(row, case.sizes, strict=True)
    )
    wanted, removed = compression * sum(size for _, size in pairs), 0
    for value, size in pairs:
        removed += size
        if removed >= wanted:
            return value
    return pairs[-1][0]


def bench_context(
    data: Path,
    model: str | None,
    threshold: float | None,
    distractors: int,
    limit: int | None,
    seed: int,
    report: Callable[[int, int], None],
) -> dict[str, Any]:
    """Prunes the contexts of all questions with the pruner and its rivals.

    `seconds` is the time for all questions of each. Returns `recall`, `compression` (shares of 1), `seconds`, and the
    same for `bm25`, `minilm` (cosine of the pruner's untrained base) and `none`.
    """
    pruner = ContextPruner.from_pretrained(model) if model else ContextPruner()
    limit_value = pruner.threshold if threshold is None else threshold
    questions = cases(data, distractors, limit, seed)
    pruner.process("Warm?", "It is.")

    began = time.perf_counter()
    values: list[list[float]] = []
    for begin in range(0, len(questions), CHUNK):
        values += pruned_values(pruner, questions[begin : begin + CHUNK], limit_value)
        report(min(begin + CHUNK, len(questions)), len(questions))
    seconds = time.perf_counter() - began
    ours = measured(questions, values, limit_value)
    result: dict[str, Any] = {**ours, "seconds": round(seconds, 2), "threshold": limit_value}
    for name, rival in (("bm25", _bm25), ("minilm", _cosine)):
        began = time.perf_counter()
        values = rival(questions)
        seconds = time.perf_counter() - began
        at = threshold_for(questions, values, ours["compression"])
        result[name] = {**measured(questions, values, at), "seconds": round(seconds, 2), "threshold": at}
    result["none"] = {"recall": 1.0, "compression": 0.0, "seconds": 0.0}
    return {**result, "questions": len(questions), "distractors": distractors}


def processed(pruner: ContextPruner, questions: Sequence[Case], **options: Any) -> dict[str, Any]:
    """What `process` says of all documents of these questions, sentence by sentence."""
    nested: Any = [[list(document) for document in case.documents] for case in questions]
    asked = [case.question for case in questions]
    return pruner.process(asked, nested, title=None, return_sentence_metrics=True, **options)


def pruned_values(pruner: ContextPruner, questions: Sequence[Case], threshold: float) -> list[list[float]]:
    """The pruner's probability of every sentence, documents one after the other."""
    output = processed(pruner, questions, threshold=threshold)
    return [[value for document in row for value in document] for row in output["sentence_probabilities"]]


def _bm25(questions: Sequence[Case]) -> list[list[float]]:
    return [bm25(case.question, [s for document in case.documents for s in document]) for case in questions]


def _cosine(questions: Sequence[Case]) -> list[list[float]]:
    """Cosine of question and sentence, each sentence embedded by itself."""
    from reasonprune.pruner.embedding import Embedder

    embedder = Embedder("minilm")
    texts = [s for case in questions for document in case.documents for s in document]
    vectors = embedder.vectors([*texts, *(case.question for case in questions)])
    return [
        [float(vectors[s] @ vectors[case.question]) for document in case.documents for s in document]
        for case in questions
    ]
