"""Runs a model over many contexts: windows, batches sorted by length, tokens back to the units they belong to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from reasonprune.errors import RequestError
from reasonprune.pruner.reading import Model
from reasonprune.pruner.sentences import Unit
from reasonprune.pruner.windows import Window, windows

SMALLEST_WINDOW = 8


@dataclass(frozen=True)
class Job:
    """One question with one context, and the context's units."""

    question: str
    text: str
    units: Sequence[Unit]


@dataclass(frozen=True)
class Scores:
    """For each unit, the keep probabilities of its tokens by window that saw it; a ranking logit for each window."""

    tokens: list[list[list[float]]]
    rank: list[float]


@dataclass(frozen=True)
class _Piece:
    job: int
    window: Window
    length: int


def score(model: Model, jobs: Sequence[Job], batch_size: int = 32) -> list[Scores]:
    """Scores in the order of `jobs`. `batch_size` is in windows."""
    questions = {question: shortened(model, question) for question in {job.question for job in jobs}}
    found = [Scores([[] for _ in job.units], []) for job in jobs]
    pieces = [piece for i, job in enumerate(jobs) for piece in _pieces(model, i, job, questions[job.question])]
    ends = [[unit.end for unit in job.units] for job in jobs]
    ranks: dict[_Piece, float] = {}
    by_length = sorted(pieces, key=lambda piece: piece.length, reverse=True)
    for begin in range(0, len(by_length), batch_size):
        batch = by_length[begin : begin + batch_size]
        reading = model.read(
            [questions[jobs[piece.job].question] for piece in batch],
            [jobs[piece.job].text[piece.window.start : piece.window.end] for piece in batch],
        )
        for piece, spans, keep, rank in zip(batch, reading.spans, reading.keep, reading.rank, strict=True):
            ranks[piece] = rank
            _collect(found[piece.job], ends[piece.job], piece.window.start, spans, keep)
    for piece in pieces:
        found[piece.job].rank.append(ranks[piece])
    return found


def shortened(model: Model, question: str) -> str:
    """The question, its middle left out where it would take more than half of the window."""
    limit = model.max_length // 2
    spans = model.tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(spans) <= limit:
        return question
    half = limit // 2
    return question[: spans[half - 1][1]] + " " + question[spans[-half][0] :]


def _pieces(model: Model, index: int, job: Job, question: str) -> list[_Piece]:
    asked = len(model.tokenizer(question, add_special_tokens=False)["input_ids"])
    budget = model.room(asked)
    if budget < SMALLEST_WINDOW:
        raise RequestError(f"the model reads {model.max_length} tokens at once, too few for a context.", "question")
    encoding = model.tokenizer(job.text, add_special_tokens=False, return_offsets_mapping=True)
    sizes = _sizes(job.units, [start for start, _ in encoding["offset_mapping"]])
    total, before = 0, {0: 0}
    for unit, size in zip(job.units, sizes, strict=True):
        total += size
        before[unit.end] = total
    # A window that cuts a unit is as long as a window can be.
    return [
        _Piece(index, w, before[w.end] - before[w.start] if {w.start, w.end} <= before.keys() else budget)
        for w in windows(job.units, sizes, budget)
    ]


def _sizes(units: Sequence[Unit], starts: Sequence[int]) -> list[int]:
    """Tokens of each unit, a token counted where it begins; units and tokens are both in order."""
    sizes, at = [0] * len(units), 0
    for start in starts:
        while at + 1 < len(units) and start >= units[at].end:
            at += 1
        sizes[at] += 1
    return sizes


def _collect(
    scores: Scores, ends: Sequence[int], offset: int, spans: Sequence[tuple[int, int]], keep: Sequence[float]
) -> None:
    """Adds a window's token probabilities to the units that hold the middle of each token."""
    seen: dict[int, list[float]] = {}
    for (start, end), probability in zip(spans, keep, strict=True):
        at = min(bisect_right(ends, offset + (start + end) / 2), len(ends) - 1)
        seen.setdefault(at, []).append(probability)
    for at, values in seen.items():
        scores.tokens[at].append(values)
