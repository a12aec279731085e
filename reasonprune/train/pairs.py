"""Pairs of recorded traces of one question, truncated as a judge will see them, labelled with what became of them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from reasonprune.engine.pool import RecordedQuestion, read_pool
from reasonprune.errors import PoolError
from reasonprune.judges.encoder import Embed
from reasonprune.judges.features import FEATURES, Batch, Reading, pair_features, read
from reasonprune.judges.snapshot import Snapshot, first_tokens
from reasonprune.train.splits import Split, question_digest, split_by_text

Cut = Literal["share", "level", "ended"]
"""`share`: both traces at a share of their own tokens; `level`: both at that share of the shorter one's tokens, as
DeepPrune's prefix is the same for all; `ended`: one at its share, the other complete, as a running trace is held
against a finished one."""

TRAIN_SHARE, VALIDATION_SHARE = 0.6, 0.2
CHUNK = 256  # texts that are embedded at a time
CUTS: dict[Cut, slice] = {"share": slice(None), "level": slice(1, None, 3), "ended": slice(2, None, 3)}
"""How a question's pairs are cut: all at a share of their own tokens, since this is what figures are given for, and a
third of them in each of the ways that policies ask about."""

Group = TypeVar("Group", bound=Hashable)


@dataclass(frozen=True)
class Question:
    """A recorded question; `traces` are the numbers of those that have an answer and a text."""

    pool: str
    recorded: RecordedQuestion
    traces: tuple[int, ...]

    @property
    def digest(self) -> str:
        return question_digest(self.recorded.question)

    def same(self, a: int, b: int) -> bool:
        """Whether two traces end in the same answer."""
        return self.recorded.traces[a].answer == self.recorded.traces[b].answer

    def snapshot(self, trace: int) -> Snapshot:
        """The complete trace."""
        record = self.recorded.traces[trace]
        return Snapshot(trace, record.tokens, record.text or "", self.recorded.question, (), True, record.answer)


def read_questions(file: Path) -> list[Question]:
    """The questions of a pool with two usable traces or more.

    Raises:
        PoolError: the pool holds no texts or no answers, or in no question do two answers differ.
    """
    recorded = read_pool(file)
    if not any(trace.text for question in recorded for trace in question.traces):
        raise PoolError(f"{file.name} holds no texts, which judges read; record a pool with `reasonprune record`.")
    questions = [_usable(file.name, question) for question in recorded]
    questions = [question for question in questions if len(question.traces) > 1]
    if not questions:
        raise PoolError(
            f"In {file.name} no question has two traces with an answer; record it again with a higher --max-tokens, "
            "so that traces come to their end."
        )
    if not any(_differ(question) for question in questions):
        raise PoolError(
            f"In {file.name} all traces of a question end in the same answer, so there is nothing to tell apart; "
            "record harder questions, or at a higher --temperature."
        )
    return questions


def _usable(pool: str, question: RecordedQuestion) -> Question:
    traces = (i for i, trace in enumerate(question.traces) if trace.answer is not None and trace.text)
    return Question(pool, question, tuple(traces))


def _differ(question: Question) -> bool:
    return len({question.recorded.traces[i].answer for i in question.traces}) > 1


def split_of(question: Question, seed: int) -> Split:
    """60% train, 20% validation, 20% test, by a hash of the question's text: the same in every pool."""
    return split_by_text(f"{seed}/{question.recorded.question}", TRAIN_SHARE, VALIDATION_SHARE)


@dataclass(frozen=True)
class LabelledPair:
    """Two traces of one question, of which one at least is unfinished, and whether they end in the same answer."""

    first: Snapshot
    second: Snapshot
    same: bool


def choose_pairs(question: Question, count: int, seed: int) -> list[tuple[int, int]]:
    """At most `count` pairs of traces, of as few traces as give so many; the same for every judge at the same seed."""
    rng = random.Random(f"{seed}/{question.recorded.question}")
    few = next((n for n in range(2, len(question.traces)) if n * (n - 1) // 2 >= count), len(question.traces))
    traces = sorted(rng.sample(question.traces, few))
    pairs = list(itertools.combinations(traces, 2))
    return sorted(rng.sample(pairs, min(count, len(pairs))))


def cut_pairs(question: Question, pairs: Sequence[tuple[int, int]], share: float, cut: Cut) -> list[LabelledPair]:
    """Each of `pairs` once, in one order: a judge's features are the same in the other."""
    labelled = []
    for i, (a, b) in enumerate(pairs):
        first, second = question.snapshot(a), question.snapshot(b)
        shorter = min(first.tokens, second.tokens)
        tokens = [round(share * (shorter if cut == "level" else whole.tokens)) for whole in (first, second)]
        if cut == "ended":
            tokens[i % 2] = (first, second)[i % 2].tokens
        labelled.append(
            LabelledPair(first_tokens(first, tokens[0]), first_tokens(second, tokens[1]), question.same(a, b))
        )
    return labelled


@dataclass(frozen=True)
class Cell:
    """Pairs of one pool, cut in one way."""

    pool: str
    cut: Cut
    share: float


@dataclass
class Examples:
    """One entry a pair in every list; `first` and `second` are numbers of texts."""

    cells: list[Cell] = field(default_factory=list)
    questions: list[int] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    features: list[list[float]] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    second: list[int] = field(default_factory=list)

    def batch(self, vectors: NDArray[np.float32]) -> Batch:
        """All pairs. `vectors` [texts, d]: the embeddings of texts by their numbers."""
        features = np.asarray(self.features, dtype=np.float32).reshape(-1, len(FEATURES))
        return Batch(features, vectors[self.first], vectors[self.second])

    def by(self, group: Callable[[Cell], Group]) -> dict[Group, list[int]]:
        """The pairs of each group of cells."""
        rows: dict[Group, list[int]] = {}
        for row, cell in enumerate(self.cells):
            rows.setdefault(group(cell), []).append(row)
        return rows

    def scored(self, scores: NDArray[np.float32], rows: Sequence[int]) -> tuple[list[float], list[bool], list[int]]:
        """Scores, labels and questions of these pairs."""
        return [float(scores[i]) for i in rows], [self.same[i] for i in rows], [self.questions[i] for i in rows]


def collect(
    questions: Sequence[Question],
    shares: Sequence[float],
    count: int,
    seed: int,
    texts: dict[str, int],
    progress: Callable[[float], None],
) -> Examples:
    """`count` pairs of each question at each share, and the other cuts; `texts` collects all texts with a number."""
    examples = Examples()
    for number, question in enumerate(questions):
        chosen = choose_pairs(question, count, seed)
        readings: dict[Snapshot, Reading] = {}
        for cell in (Cell(question.pool, cut, share) for share in shares for cut in CUTS):
            for pair in cut_pairs(question, chosen[CUTS[cell.cut]], cell.share, cell.cut):
                both = pair.first, pair.second
                readings |= {snapshot: read(snapshot) for snapshot in both if snapshot not in readings}
                examples.cells.append(cell)
                examples.questions.append(number)
                examples.same.append(pair.same)
                examples.features.append(pair_features(*(readings[snapshot] for snapshot in both)))
                examples.first.append(texts.setdefault(pair.first.text, len(texts)))
                examples.second.append(texts.setdefault(pair.second.text, len(texts)))
        progress((number + 1) / len(questions))
    return examples


def embeddings(
    texts: dict[str, int], examples: Sequence[Examples], embed: Embed, progress: Callable[[float], None]
) -> NDArray[np.float32]:
    """[texts, d]; zeros for texts that are not in `examples`."""
    needed = {text for part in examples for side in (part.first, part.second) for text in side}
    # Similar lengths go together, since a batch is padded to its longest.
    ordered = sorted((text for text, number in texts.items() if number in needed), key=len)
    chunks = []
    for start, end in itertools.pairwise([*range(0, len(ordered), CHUNK), len(ordered)]):
        chunks.append(embed(ordered[start:end]))
        progress(end / len(ordered))
    found = np.concatenate(chunks)
    vectors = np.zeros((len(texts), found.shape[1]), dtype=np.float32)
    vectors[[texts[text] for text in ordered]] = found
    return vectors
