from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

from reasonprune.bench.context import Case, measured
from reasonprune.errors import DataError
from reasonprune.pruner import ContextPruner
from reasonprune.pruner.checkpoints import DEFAULT
from reasonprune.pruner.reading import Ranking
from reasonprune.pruner.rounding import Calibration
from reasonprune.train.calibration import CalibrationConfig, Judged, best, calibrate, fitted, likeness_of

THRESHOLD = 0.1


def judged(seed: int) -> Judged:
    """Three documents of four sentences of one length; the network likes the answer, and the document that holds it."""
    rng = random.Random(seed)
    documents = tuple(tuple(f"{d}{s} says what is so. " for s in range(4)) for d in range(3))
    values = [[rng.uniform(0.01, 0.4) for _ in range(4)] for _ in range(3)]
    values[0][2] = rng.uniform(0.3, 0.9)
    ranks = [rng.gauss(1.0, 1.0), rng.gauss(-1.0, 1.0), rng.gauss(-1.0, 1.0)]
    cosines = [rng.gauss(0.6, 0.1), rng.gauss(0.4, 0.1), rng.gauss(0.4, 0.1)]
    return Judged.of(Case("What is so?", documents, (2,)), values, ranks, cosines)


QUESTIONS = [judged(seed) for seed in range(40)]


def test_as_much_goes_as_was_asked_for() -> None:
    config = CalibrationConfig(alone=0.5, among=0.65)
    found, figures = best(QUESTIONS, Ranking(likeness=2.0), THRESHOLD, config)
    assert figures["compression_alone"] == pytest.approx(0.5, abs=0.02)
    assert figures["compression_among"] >= 0.64
    assert found.lead > 0


def test_contexts_of_one_sentence_leave_nothing_to_choose() -> None:
    single = [Judged.of(Case("What?", (("It is.",),), (0,)), [[0.5]], [0.0], [0.5]) for _ in range(3)]
    found, figures = best(single, Ranking(), THRESHOLD, CalibrationConfig(alone=0.0, distractors=0))
    assert (found.scale, figures["recall_alone"]) == (1.0, 1.0)


def test_other_texts_can_set_how_much_goes() -> None:
    config = CalibrationConfig(alone=0.5, among=0.8)
    start = Calibration(scale=0.5, contrast=1.0, between=0.4)
    found = fitted(QUESTIONS, start, Ranking(likeness=2.0), THRESHOLD, config)
    assert (found.scale, found.contrast, found.between) == (0.5, 1.0, 0.4)
    for alone, wanted in ((True, 0.5), (False, 0.8)):
        shown = [one.alone if alone else one for one in QUESTIONS]
        values = [one.applied(found, Ranking(likeness=2.0)) for one in shown]
        assert measured([one.case for one in shown], values, THRESHOLD)["compression"] == pytest.approx(
            wanted, abs=0.03
        )


def test_no_other_point_of_the_grid_loses_fewer_answers_alone() -> None:
    config = CalibrationConfig(distractors=0)
    found, figures = best([one.alone for one in QUESTIONS], Ranking(), THRESHOLD, config)
    assert figures["recall_alone"] >= 0.9
    assert (found.between, found.lead) == (0.0, 0.0)


def test_cosines_that_tell_documents_apart_are_worth_more() -> None:
    blurred = [Judged(q.case, q.values, q.ranks, [0.5 + 0.1 * (c - 0.5) for c in q.cosines], q.bm25) for q in QUESTIONS]
    turned = [Judged(q.case, q.values, q.ranks, [-c for c in q.cosines], q.bm25) for q in QUESTIONS]
    assert likeness_of(blurred) > likeness_of(QUESTIONS) > 0 == likeness_of(turned)


def test_the_files_of_a_pruner_are_set_anew(tmp_path: Path) -> None:
    folder = tmp_path / "pruner"
    shutil.copytree(DEFAULT, folder)
    before = json.loads((folder / "pruner.json").read_text())
    data = tmp_path / "data.jsonl"
    rows = [
        {"question": f"Where does number {i} live?", "group": "g", "labels": [0, 1, 0],
         "sentences": [f"Number {i} is red. ", f"It lives in house {i}, by the river. ", "Birds fly."]}
        for i in range(8)
    ]  # fmt: skip
    data.write_text("\n".join(map(json.dumps, rows)))
    found = calibrate(folder, data, CalibrationConfig(alone=0.3, among=0.6, distractors=2))
    after = json.loads((folder / "pruner.json").read_text())
    assert after["shift"] != before["shift"]
    assert after == {name: found[name] for name in after}
    assert json.loads((folder / "training.json").read_text())["calibration"]["questions"] == 8
    assert ContextPruner.from_pretrained(folder).model.calibration.shift == after["shift"]
    with pytest.raises(DataError, match="are too many"):
        calibrate(folder, data, CalibrationConfig(distractors=8))
