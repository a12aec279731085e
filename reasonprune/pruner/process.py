"""`ContextPruner`: questions and contexts in, pruned contexts, scores and exact spans out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonprune.errors import RequestError
from reasonprune.pruner.lexical import bm25
from reasonprune.pruner.rounding import Rounding, joined, kept, probability, spans_of, value_of
from reasonprune.pruner.sentences import Splitter, Unit, from_sentences, language_of, split
from reasonprune.pruner.shapes import Inputs, normalized, shaped, titles_of

if TYPE_CHECKING:
    from reasonprune.pruner.reading import Model
    from reasonprune.pruner.scoring import Scores

FIRST_SENTENCE = "first_sentence"
FALLBACK_THRESHOLD = 0.1
ROUNDINGS = ("mean", "votes", "majority")


@dataclass(frozen=True)
class Document:
    """A context as it is judged. Its title, if it has one, is a unit of its own before `body`.

    `added` characters at the beginning of `text` are not of the context as it was given: a title that came apart.
    """

    text: str
    units: Sequence[Unit]
    title: str | None = None
    title_unit: int | None = None
    body: int = 0
    added: int = 0

    @property
    def original(self) -> str:
        """The context without its title, as it came."""
        return self.text[self.body :]


@dataclass
class Pruned:
    """One context after pruning. Spans are (start, end) in characters of the context as it was given."""

    pruned_context: str
    reranking_score: float | None
    compression_rate: float
    title: str | None
    kept_sentences: list[str] = field(default_factory=list)
    removed_sentences: list[str] = field(default_factory=list)
    sentence_probabilities: list[float] = field(default_factory=list)
    sentence_spans: list[tuple[int, int]] = field(default_factory=list)
    kept_spans: list[tuple[int, int]] = field(default_factory=list)


class ContextPruner:
    """Removes from contexts the sentences that do not help to answer the question, and scores the contexts.

    `ContextPruner()` uses the weights that ship with reasonprune; `ContextPruner.from_pretrained` opens others. One
    object may be used by one thread at a time.
    """

    def __init__(self, model: Model | None = None, threshold: float | None = None) -> None:
        if model is None:
            from reasonprune.pruner.checkpoints import embedded

            model, default = embedded()
            threshold = default if threshold is None else threshold
        self.model = model
        self.threshold = checked_threshold(FALLBACK_THRESHOLD if threshold is None else threshold)

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str | None = None) -> ContextPruner:
        """Opens a folder or hub id: ours, naver Provence or XProvence, or OpenProvence; no code of it is run.

        Raises ModelError where it is none of these, or its keys are not those of its kind.
        """
        from reasonprune.pruner.checkpoints import open_checkpoint

        return cls(*open_checkpoint(name, device))

    def process(
        self,
        question: str | Sequence[str],
        context: str | Sequence[str] | Sequence[Sequence[str]],
        title: str | Sequence[str] | Sequence[Sequence[str]] | None = FIRST_SENTENCE,
        first_line_as_title: bool = False,
        *,
        batch_size: int = 32,
        threshold: float | None = None,
        rounding: Rounding = "mean",
        always_select_title: bool = False,
        reorder: bool = False,
        top_k: int | None = None,
        sentence_splitter: Splitter | Mapping[str, Splitter] | None = None,
        language: str | None = None,
        use_best_reranker_score: bool = True,
        zero_score_when_empty: bool = True,
        return_sentence_metrics: bool = False,
        return_sentence_texts: bool = False,
        return_spans: bool = False,
    ) -> dict[str, Any]:
        """Prunes; the arguments and the result are those of OpenProvence's `process`, with spans and roundings added.

        Args:
            question, context: one of the shapes of `reasonprune.pruner.shapes`; inner lists are split sentences.
            title: a title for each context, judged with it; "first_sentence" takes the context's own first sentence
                for the title, None none.
            first_line_as_title: the first line that is not blank is cut off and taken for the title.
            threshold: keeps sentences whose value is above it, 0 to 1; unset: what the model was made for.
            always_select_title: keep the title as soon as any sentence is kept.
            reorder, top_k: sort the contexts of a question by their score, keep the best.
            language: of the sentences, as an ISO 639-1 code; unset (or "auto"): by script.
            use_best_reranker_score: of a context in several windows the best score, else the first.
            zero_score_when_empty: a context that is removed whole scores 0.

        Returns:
            `pruned_context`, `reranking_score`, `compression_rate` (percent of the characters removed), `title` and
            `timing` (seconds); where asked for, `sentence_probabilities`, `kept_sentences` and `removed_sentences`,
            `sentence_spans` and `kept_spans`. All but `timing` in the shape of `context`.

        Raises:
            RequestError: naming the argument that does not fit, and the remedy.
        """
        began = time.perf_counter()
        limit = self.threshold if threshold is None else checked_threshold(threshold)
        _check(rounding, batch_size, top_k, title, first_line_as_title)
        inputs = normalized(question, context)
        documents = _documents(inputs, title, first_line_as_title, _splitter(sentence_splitter, language), language)
        prepared = time.perf_counter()

        judged = _Judging(limit, rounding, always_select_title, use_best_reranker_score, zero_score_when_empty)
        results = self._prune(inputs.questions, documents, batch_size, judged)
        if reorder:
            results = [_reordered(row, top_k) for row in results]
        fields = ["pruned_context", "reranking_score", "compression_rate", "title"]
        fields += ["sentence_probabilities"] if return_sentence_metrics else []
        fields += ["kept_sentences", "removed_sentences"] if return_sentence_texts else []
        fields += ["sentence_spans", "kept_spans"] if return_spans else []
        output = {
            name: shaped([[getattr(one, name) for one in row] for row in results], inputs.structure) for name in fields
        }
        ended = time.perf_counter()
        output["timing"] = {
            "preprocess_seconds": prepared - began,
            "inference_seconds": ended - prepared,
            "total_seconds": ended - began,
        }
        return output

    def rerank(self, question: str, documents: Sequence[str], batch_size: int = 32) -> list[float]:
        """The ranking score of each document, higher for more relevant; a document in several windows has its best.

        Scores are probabilities (the sigmoid of the ranking logit), 0 for a document without any text.
        """
        inputs = normalized(question, list(documents))
        made = _documents(inputs, None, False, None, None)
        judged = _Judging(0.0, "mean", False, True, False)
        return [one.reranking_score or 0.0 for one in self._prune(inputs.questions, made, batch_size, judged)[0]]

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens of all texts together, special ones left out."""
        encoded = self.model.tokenizer(list(texts), add_special_tokens=False)
        return sum(map(len, encoded["input_ids"]))

    def _prune(
        self, questions: Sequence[str], documents: Sequence[Sequence[Document]], batch_size: int, judging: _Judging
    ) -> list[list[Pruned]]:
        from reasonprune.pruner.scoring import Job, score

        jobs = [
            Job(question, document.text, document.units)
            for question, row in zip(questions, documents, strict=True)
            for document in row
            if document.text.strip()
        ]
        scored = iter(score(self.model, jobs, batch_size))
        return [
            self._row(question, row, [next(scored) if one.text.strip() else None for one in row], judging)
            for question, row in zip(questions, documents, strict=True)
        ]

    def _row(
        self, question: str, documents: Sequence[Document], scores: Sequence[Scores | None], judging: _Judging
    ) -> list[Pruned]:
        """The documents of one question, whose sentences are calibrated together."""
        values = [[_value(windows, judging) for windows in one.tokens] if one else [] for one in scores]
        if judging.rounding == "mean":
            calibration = self.model.calibration
            matches = _bm25(question, documents, scores) if calibration.lexical else None
            values = calibration.applied(values, matches, [max(one.rank) if one else None for one in scores])
        return [
            _pruned(document, own, one.rank, judging) if one else _nothing(document)
            for document, own, one in zip(documents, values, scores, strict=True)
        ]


@dataclass(frozen=True)
class _Judging:
    """How scores become decisions."""

    threshold: float
    rounding: Rounding
    always_select_title: bool
    best_score: bool
    zero_when_empty: bool


def checked_threshold(threshold: Any) -> float:
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise RequestError(
            f"threshold is {threshold!r}; it is compared with a probability, so give a number from 0 (keep nearly all)"
            " to 1 (remove all). Usual are 0.05 to 0.5.",
            "threshold",
        )
    return float(threshold)


def _check(rounding: str, batch_size: int, top_k: int | None, title: Any, first_line_as_title: bool) -> None:
    if rounding not in ROUNDINGS:
        raise RequestError(f"rounding is {rounding!r}; known are {', '.join(ROUNDINGS)}.", "rounding")
    if batch_size < 1:
        raise RequestError(f"batch_size is {batch_size}; give at least 1.", "batch_size")
    if top_k is not None and top_k < 0:
        raise RequestError(f"top_k is {top_k}; give 0 or more, or None for all.", "top_k")
    if first_line_as_title and title not in (None, FIRST_SENTENCE):
        raise RequestError("first_line_as_title and an explicit title exclude each other; drop one.", "title")


def _splitter(given: Splitter | Mapping[str, Splitter] | None, language: str | None) -> Splitter | None:
    """The caller's own splitter; of several, the one for the language that is named or guessed for each text."""
    if given is None or callable(given):
        return given
    known = given

    def chosen(text: str) -> Sequence[str]:
        name = language if language not in (None, "auto") else language_of(text)
        if name not in known:
            raise RequestError(
                f"sentence_splitter has none for '{name}', only for {', '.join(sorted(known))}; add one, or name a"
                " language.",
                "sentence_splitter",
            )
        return known[name](text)

    return chosen


def _documents(
    inputs: Inputs, title: Any, first_line_as_title: bool, splitter: Splitter | None, language: str | None
) -> list[list[Document]]:
    own_title = not first_line_as_title and title == FIRST_SENTENCE
    titles = titles_of(None if first_line_as_title or own_title else title, inputs)

    def units_of(text: str) -> list[Unit]:
        return split(text, splitter, None if language == "auto" else language)

    def document(given: str | list[str], given_title: str | None) -> Document:
        text, units = (given, units_of(given)) if isinstance(given, str) else from_sentences(given)
        if own_title:
            first = next((i for i, unit in enumerate(units) if text[unit.start : unit.end].strip()), None)
            return Document(text, units, None, first)
        if first_line_as_title:
            return _with_first_line(text, units)
        return _with_title(text, units, given_title) if given_title else Document(text, units)

    return [
        [document(one, its) for one, its in zip(row, given, strict=True)]
        for row, given in zip(inputs.documents, titles, strict=True)
    ]


def _with_title(text: str, units: Sequence[Unit], title: str) -> Document:
    """The title in front, as a unit of its own, which is judged but not part of the pruned text."""
    head = title.rstrip() + "\n"
    shift = len(head)
    moved = [Unit(u.start + shift, u.end + shift, u.kind, tuple(h + 1 for h in u.heads)) for u in units]
    return Document(head + text, [Unit(0, shift), *moved], title, 0, shift, shift)


def _with_first_line(text: str, units: Sequence[Unit]) -> Document:
    """The first line that is not blank is the title; the units that it takes part in are cut at its end."""
    end = 0
    for line in text.splitlines(keepends=True):
        end += len(line)
        if line.strip():
            break
    title = text[:end].strip()
    if not title:
        return Document(text, units)
    first = next((i for i, unit in enumerate(units) if unit.end > end), len(units))
    shift = first - 1
    rest = [
        Unit(max(u.start, end), u.end, u.kind, tuple(h - shift for h in u.heads if h >= first)) for u in units[first:]
    ]
    return Document(text, [Unit(0, end), *rest], title, 0, end)


def _bm25(question: str, documents: Sequence[Document], scores: Sequence[Scores | None]) -> list[list[float]]:
    """BM25 of every unit of the documents that were judged, over all of them together."""
    judged = [document.units if one else () for document, one in zip(documents, scores, strict=True)]
    texts = [d.text[unit.start : unit.end] for d, units in zip(documents, judged, strict=True) for unit in units]
    found = iter(bm25(question, texts))
    return [[next(found) for _ in units] for units in judged]


def _nothing(document: Document) -> Pruned:
    """For a context without text: there is nothing to judge."""
    return Pruned(document.original, 0.0, 0.0, document.title)


def _pruned(document: Document, values: list[float], rank: Sequence[float], judging: _Judging) -> Pruned:
    title = document.title_unit if judging.always_select_title else None
    keep = kept(values, judging.threshold, document.units, title)
    body = [i for i, unit in enumerate(document.units) if unit.start >= document.body]
    spans = spans_of([document.units[i] for i in body], [keep[i] for i in body])
    pruned = joined(document.text, spans)
    size, added = len(document.original), document.added
    score = probability(max(rank) if judging.best_score else rank[0]) if rank else None
    texts = [document.text[unit.start : unit.end] for unit in document.units]
    return Pruned(
        pruned_context=pruned,
        reranking_score=0.0 if judging.zero_when_empty and not pruned.strip() else score,
        compression_rate=100.0 * (size - len(pruned)) / max(1, size),
        title=document.title,
        kept_sentences=[text for text, stays in zip(texts, keep, strict=True) if stays],
        removed_sentences=[text for text, stays in zip(texts, keep, strict=True) if not stays],
        sentence_probabilities=values,
        sentence_spans=[(document.units[i].start - added, document.units[i].end - added) for i in body],
        kept_spans=[(start - added, end - added) for start, end in spans],
    )


def _value(windows: Sequence[Sequence[float]], judging: _Judging) -> float:
    """Of a unit that several windows saw, the mean; a unit cut by windows is as good as its best piece."""
    if not windows:
        return 0.0
    values = [value_of(tokens, judging.rounding, judging.threshold) for tokens in windows]
    return sum(values) / len(values) if len({len(tokens) for tokens in windows}) == 1 else max(values)


def _reordered(row: list[Pruned], top_k: int | None) -> list[Pruned]:
    return sorted(row, key=lambda one: -(one.reranking_score or 0.0))[:top_k]
