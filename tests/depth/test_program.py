from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.depth import LayerProgram

layer_lists = st.lists(st.integers(0, 40), min_size=1, max_size=60).map(tuple)


@pytest.mark.parametrize(
    ("text", "layers", "cost"),
    [
        ("0-9,12-29", (*range(10), *range(12, 30)), 28),
        ("0-5,5,6-29", (*range(6), *range(5, 30)), 31),
        ("0-5,2-5,6-9", (0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 6, 7, 8, 9), 14),
        ("7", (7,), 1),
        ("3,2,1", (3, 2, 1), 3),
    ],
)
def test_parse_and_print(text, layers, cost):
    program = LayerProgram.parse(text)
    assert program.layers == layers
    assert program.cost == cost
    assert str(program) == text


def test_blanks_are_nothing():
    assert LayerProgram.parse(" 0 - 2, 4 ") == LayerProgram((0, 1, 2, 4))


@given(layer_lists)
def test_printing_loses_nothing(layers):
    program = LayerProgram(layers)
    assert LayerProgram.parse(str(program)) == program


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one layer"),
        ("  ", "at least one layer"),
        ("0,,1", "nothing between two commas"),
        ("0-3,", "nothing between two commas"),
        ("5-3", "write 5,4,3"),
        ("0-3;5", "'0-3;5' is not a layer"),
        ("-1", "'-1' is not a layer"),
        ("0-99999", "not a layer"),
        ("0-4095,0-4095,0-4095", "at most 4096 layers"),
    ],
)
def test_what_cannot_be_parsed(text, words):
    with pytest.raises(ValueError, match=words):
        LayerProgram.parse(text)


def test_no_program_is_empty_or_negative():
    with pytest.raises(ValueError, match="at least one"):
        LayerProgram(())
    with pytest.raises(ValueError, match="counted from 0"):
        LayerProgram((0, -1))


def test_the_identity_is_full_depth():
    assert LayerProgram.full(30) == LayerProgram.parse("0-29")
    assert LayerProgram.full(30).is_full(30)
    assert not LayerProgram.full(29).is_full(30)
    assert not LayerProgram.parse("0-28,28").is_full(30)


@pytest.mark.parametrize(
    ("text", "layers", "slots", "words"),
    [
        ("0-9", 10, 10, None),
        ("0-9,9", 10, 11, None),
        ("0-10", 10, 20, "names layer 10, but the model has 10 layers, 0 to 9"),
        ("0-9,9", 10, 10, "runs 11 layers, but the engine reserves KV cache for 10"),
    ],
)
def test_does_it_fit_the_engine(text, layers, slots, words):
    problem = LayerProgram.parse(text).problem(layers, slots)
    assert problem is None if words is None else words in problem


def test_the_remedy_for_a_long_program_is_enough():
    assert "--reasonprune.server.depth_slots 3 " in LayerProgram.parse("0-9,7-9").problem(10, 10)
