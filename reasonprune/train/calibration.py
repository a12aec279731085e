"""Calibrates a pruner: the weights around its network, chosen on questions that it was not trained on.

How much is to go is given; what is sought is the `Calibration` that then loses the fewest answers, on each question's
context alone and beside distractors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

from reasonprune.bench.context import CHUNK, Case, cases, measured, processed, threshold_for
from reasonprune.bench.provenance import sha256
from reasonprune.errors import RequestError
from reasonprune.pruner.embedding import Embedder
from reasonprune.pruner.lexical import bm25
from reasonprune.pruner.process import ContextPruner
from reasonprune.pruner.reading import LateModel, Ranking
from reasonprune.pruner.rounding import Calibration, log_odds
from reasonprune.pruner.weights import CONFIG, Recipe

LEXICAL = (0.0, 0.1, 0.2, 0.3, 0.4)
CONTRAST = (0.0, 0.5, 1.0, 2.0, 4.0)
BETWEEN = (0.1, 0.2, 0.4, 0.8)
MOST_LEAD = 4.0
HALVINGS = 10
LEAST_SCALE = 0.05
COSINE = Ranking(head=0.0, likeness=20.0)
"""A weight that spreads ranking scores over 0 to 1; alone, it does not change their order."""


@dataclass(frozen=True)
class CalibrationConfig:
    """`alone`, `among`: shares of the characters to remove from a context alone, and beside `distractors` others.

    `ranking`: of documents, by the trained head and the base encoder's cosine, or by the cosine alone. Where questions
    will be of other kinds than those in training, the cosine is the safer of the two. `texts`: other questions with
    contexts, on which it is set how much goes; their answers are not looked at.
    """

    alone: float = 0.5
    among: float = 0.88
    distractors: int = 4
    ranking: Literal["both", "cosine"] = "both"
    texts: Path | None = None
    limit: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Judged:
    """A question's documents as the bare network sees them: sentence values, ranking logits, cosines with the question.

    `bm25` is of every sentence, over all documents together.
    """

    case: Case
    values: list[list[float]]
    ranks: list[float]
    cosines: list[float]
    bm25: list[list[float]]

    @classmethod
    def of(cls, case: Case, values: list[list[float]], ranks: list[float], cosines: list[float]) -> Judged:
        scores = iter(bm25(case.question, [sentence for document in case.documents for sentence in document]))
        return cls(case, values, ranks, cosines, [[next(scores) for _ in document] for document in case.documents])

    @property
    def alone(self) -> Judged:
        """The document that answers, without the others."""
        case = replace(self.case, documents=self.case.documents[:1])
        return Judged.of(case, self.values[:1], self.ranks[:1], self.cosines[:1])

    def applied(self, calibration: Calibration, ranking: Ranking) -> list[float]:
        """Calibrated values of all sentences, documents one after the other."""
        pairs = zip(self.ranks, self.cosines, strict=True)
        ranks = [ranking.head * logit + ranking.likeness * cosine for logit, cosine in pairs]
        return [value for row in calibration.applied(self.values, self.bm25, ranks) for value in row]


def calibrate(
    folder: Path,
    data: Path,
    config: CalibrationConfig,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> dict[str, Any]:
    """Sets the calibration in `folder`'s `pruner.json`, and notes in its `training.json` how it came about.

    Raises:
        DataError: the data hold no questions with answers, or too few contexts for the distractors.
        RequestError: the pruner is not of our own make.
    """
    pruner = ContextPruner.from_pretrained(folder)
    if not isinstance(pruner.model, LateModel):
        raise RequestError(f"{folder} is a published checkpoint, which has no calibration to set.", "folder")
    recipe = Recipe.model_validate_json((folder / CONFIG).read_text(encoding="utf-8"))
    pruner.model.calibration, pruner.model.ranking = Calibration(), Ranking()

    def read(file: Path) -> list[Judged]:
        questions = cases(file, config.distractors, config.limit, config.seed)
        return judged_by(pruner, recipe.base, questions, partial(progress, f"reading {file.name}"))

    judged = read(data)
    ranking = COSINE if config.ranking == "cosine" else recipe.ranking
    if config.distractors and config.ranking == "both":
        ranking = Ranking(likeness=likeness_of(judged))
    found, figures = best(judged, ranking, recipe.threshold, config, lambda share: progress("searching", share))
    if config.texts is not None:
        found = fitted(read(config.texts), found, ranking, recipe.threshold, config)
    chosen = recipe.model_copy(update={**asdict(found), **asdict(ranking)})
    (folder / CONFIG).write_text(json.dumps(chosen.model_dump(), indent=2) + "\n", encoding="utf-8")
    record = {
        "data": {"file": data.name, "sha256": sha256(data)},
        "questions": len(judged),
        **asdict(replace(config, texts=None)),
        **({"texts": {"file": config.texts.name, "sha256": sha256(config.texts)}} if config.texts else {}),
        **figures,
    }
    _note(folder / "training.json", record)
    return {**chosen.model_dump(), **figures}


def judged_by(
    pruner: ContextPruner, base: str, questions: Sequence[Case], progress: Callable[[float], None]
) -> list[Judged]:
    """What the network says of every document, without calibration; cosines are the base encoder's."""
    texts = {text for case in questions for text in (case.question, *map("".join, case.documents))}
    vectors = Embedder(base).vectors(texts)
    found = []
    for begin in range(0, len(questions), CHUNK):
        part = questions[begin : begin + CHUNK]
        output = processed(pruner, part, zero_score_when_empty=False)
        rows = zip(part, output["sentence_probabilities"], output["reranking_score"], strict=True)
        for case, values, scores in rows:
            cosines = [float(vectors["".join(d)] @ vectors[case.question]) for d in case.documents]
            found.append(Judged.of(case, values, [log_odds(score) for score in scores], cosines))
        progress(len(found) / len(questions))
    return found


def likeness_of(judged: Sequence[Judged]) -> float:
    """What a cosine is worth in ranking logits: of a logistic regression of "is this the document that answers?"."""
    from sklearn.linear_model import LogisticRegression

    features = [pair for one in judged for pair in zip(one.ranks, one.cosines, strict=True)]
    answers = [i == 0 for one in judged for i in range(len(one.ranks))]
    rank, cosine = LogisticRegression(C=100.0).fit(features, answers).coef_[0]
    return round(max(0.0, float(cosine / rank)), 1) if rank > 0 else 0.0


def best(
    judged: Sequence[Judged],
    ranking: Ranking,
    threshold: float,
    config: CalibrationConfig,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Calibration, dict[str, float]]:
    """The calibration with the highest sum of both recalls at the wanted compressions, and its figures.

    A context alone sets `scale` and `shift`, distractors set `lead`; the other weights are tried on a grid, small ones
    first. Weights with which too little goes beside distractors are taken only where all are like that.
    """
    alone = [one.alone for one in judged]
    tried: list[tuple[tuple[float, float], Calibration, dict[str, float]]] = []
    grid = list(product(LEXICAL, CONTRAST))
    for done, (lexical, contrast) in enumerate(grid, 1):
        bare = Calibration(contrast=contrast, lexical=lexical)
        bare = replace(bare, scale=_scale(alone, bare))
        shift = _shift(alone, bare, threshold, config.alone)
        calibration = replace(bare, shift=round(shift, 3))
        figures = _figures("alone", alone, calibration, ranking, threshold)
        for between in BETWEEN if config.distractors else ():
            led = _led(judged, replace(calibration, between=between), ranking, threshold, config.among)
            both = figures | _figures("among", judged, led, ranking, threshold)
            short = max(0.0, config.among - both["compression_among"])
            tried.append(((-round(short, 2), both["recall_alone"] + both["recall_among"]), led, both))
        if not config.distractors:
            tried.append(((0.0, figures["recall_alone"]), calibration, figures))
        progress(done / len(grid))
    _, found, figures = max(tried, key=lambda one: one[0])
    return found, figures


def fitted(
    judged: Sequence[Judged], calibration: Calibration, ranking: Ranking, threshold: float, config: CalibrationConfig
) -> Calibration:
    """With `shift` and `lead` at which as much of these texts goes as is wanted."""
    alone = [one.alone for one in judged]
    moved = replace(
        calibration, shift=round(_shift(alone, replace(calibration, shift=0.0), threshold, config.alone), 3)
    )
    return _led(judged, moved, ranking, threshold, config.among) if config.distractors else moved


def _measured(
    judged: Sequence[Judged], calibration: Calibration, ranking: Ranking, threshold: float
) -> dict[str, float]:
    values = [one.applied(calibration, ranking) for one in judged]
    found = measured([one.case for one in judged], values, threshold)
    return {name: round(value, 4) for name, value in found.items()}


def _figures(
    name: str, judged: Sequence[Judged], calibration: Calibration, ranking: Ranking, threshold: float
) -> dict[str, float]:
    return {f"{key}_{name}": value for key, value in _measured(judged, calibration, ranking, threshold).items()}


def _scale(judged: Sequence[Judged], calibration: Calibration) -> float:
    """By logistic regression of "does this sentence answer?", so that thresholds mean what they say up to the shift."""
    from sklearn.linear_model import LogisticRegression

    odds = [[log_odds(value)] for one in judged for value in one.applied(calibration, Ranking())]
    answers = [i in one.case.answer for one in judged for i in range(len(one.values[0]))]
    if all(answers):
        return 1.0  # every context is one sentence: there is nothing to tell apart
    slope = float(LogisticRegression(C=100.0).fit(odds, answers).coef_[0, 0])
    return round(max(slope, LEAST_SCALE), 3)


def _shift(judged: Sequence[Judged], calibration: Calibration, threshold: float, compression: float) -> float:
    """What makes `threshold` remove so large a share."""
    values = [one.applied(calibration, Ranking()) for one in judged]
    at = threshold_for([one.case for one in judged], values, compression)
    return log_odds(threshold) - log_odds(at)


def _led(
    judged: Sequence[Judged], calibration: Calibration, ranking: Ranking, threshold: float, compression: float
) -> Calibration:
    """The largest lead at which so large a share still goes; by halving, since a larger lead keeps more."""
    low, high = 0.0, MOST_LEAD
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = _measured(judged, replace(calibration, lead=middle), ranking, threshold)
        low, high = (middle, high) if found["compression"] >= compression else (low, middle)
    return replace(calibration, lead=round(low, 2))


def _note(file: Path, record: dict[str, Any]) -> None:
    training = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps(training | {"calibration": record}, indent=2) + "\n", encoding="utf-8")
