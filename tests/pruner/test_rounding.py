from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.pruner.rounding import Calibration, joined, kept, spans_of, value_of
from reasonprune.pruner.sentences import Unit, split


@pytest.mark.parametrize(("rounding", "value"), [("mean", 0.38), ("votes", 0.4), ("majority", 1.0)])
def test_the_three_roundings(rounding: str, value: float) -> None:
    probabilities = [0.9, 0.8, 0.15, 0.05, 0.0]
    assert value_of(probabilities, rounding, 0.1) == pytest.approx(value)  # type: ignore[arg-type]


def test_white_space_has_no_value() -> None:
    assert value_of([], "mean", 0.0) == 0.0


def test_a_title_stays_as_soon_as_anything_does() -> None:
    units = [Unit(0, 1), Unit(1, 2), Unit(2, 3)]
    assert kept([0.0, 0.9, 0.0], 0.1, units, title=0) == [True, True, False]
    assert kept([0.0, 0.0, 0.0], 0.1, units, title=0) == [False, False, False]


def test_a_row_brings_the_head_of_its_table() -> None:
    units = [Unit(0, 1), Unit(1, 2, "table", (0,)), Unit(2, 3, "table", (0, 1))]
    assert kept([0.0, 0.0, 0.9], 0.1, units) == [True, True, True]


def test_the_threshold_itself_is_not_above_it() -> None:
    assert kept([0.1, 0.11], 0.1, [Unit(0, 1), Unit(1, 2)]) == [False, True]


@given(st.lists(st.tuples(st.sampled_from(["A b. ", "C?\n", "D!\n\n"]), st.booleans()), max_size=12))
def test_spans_are_exact_and_joined_by_the_white_space_between(parts: list[tuple[str, bool]]) -> None:
    text = "".join(part for part, _ in parts)
    units, at = [], 0
    for part, _ in parts:
        units.append(Unit(at, at + len(part)))
        at += len(part)
    keep = [stays for _, stays in parts]
    spans = spans_of(units, keep)
    pruned = joined(text, spans)
    assert pruned.split() == "".join(part if stays else " " for part, stays in parts).split()
    assert all(text[start:end].strip() in pruned for start, end in spans)
    if all(keep):
        assert pruned == text


def test_paragraphs_stay_apart_and_chinese_sentences_together() -> None:
    english = "One. Two.\n\nThree. Four."
    assert joined(english, [(0, 5), (11, 18)]) == "One.\n\nThree."
    chinese = "你好。今天很好。再见。"
    assert joined(chinese, [(0, 3), (8, 11)]) == "你好。再见。"


def test_citations_and_ids_survive() -> None:
    text = "Kept one [doc-17].[3] Dropped. Kept two (id=42).[4]"
    units = split(text)
    assert joined(text, spans_of(units, [True, False, True])) == "Kept one [doc-17].[3] Kept two (id=42).[4]"


def test_a_calibration_keeps_the_order_and_the_best() -> None:
    assert Calibration().applied([[0.2], [0.0, 1.0]]) == [[0.2], [0.0, 1.0]]
    [first, second] = Calibration(contrast=1.0).applied([[0.9, 0.5], [0.5, 0.0]])
    assert first[0] == pytest.approx(0.9)
    assert first[1] == second[0] == pytest.approx(0.1)
    assert second[1] == pytest.approx(0.0, abs=1e-6)
    assert Calibration(shift=50.0, scale=0.1).applied([[0.0]])[0][0] == pytest.approx(1.0)
    assert Calibration(contrast=1.0).applied([[], []]) == [[], []]
    assert Calibration(lexical=2.0).applied([[0.5, 0.5]], [[0.0, 1.0]])[0] == [0.5, pytest.approx(0.8808, abs=1e-4)]


def test_a_document_that_stands_out_keeps_more_and_the_others_less() -> None:
    calibration = Calibration(between=0.5, lead=1.0)
    assert calibration.leads([4.0, None, 1.0, -2.0]) == [1.0, 0.0, -1.5, -3.0]
    assert calibration.leads([1.0, 1.0]) == [0.0, 0.0]
    assert calibration.leads([4.0]) == [0.0]
    [[alone]] = calibration.applied([[0.5]], ranks=[4.0])
    [[first], [second]] = calibration.applied([[0.5], [0.5]], ranks=[4.0, 1.0])
    assert alone == pytest.approx(0.5)
    assert first > 0.5 > second
