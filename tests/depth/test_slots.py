from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.depth import LayerProgram
from reasonprune.depth.slots import slots_of


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12).map(tuple))
def test_no_two_runs_share_a_slot_and_no_slot_is_wasted(program):
    slots = slots_of(program, 7)
    assert len(set(slots)) == len(program)
    assert max(slots) < max(7, len(program))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12).map(tuple))
def test_the_first_run_of_a_layer_is_in_its_own_slot_whatever_else_runs(program):
    slots = slots_of(program, 7)
    assert all(slots[program.index(layer)] == layer for layer in set(program))


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("0-5", (0, 1, 2, 3, 4, 5)),
        ("0-2,5", (0, 1, 2, 5)),
        ("0-5,5,5", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("0-2,2,5,5,5", (0, 1, 2, 3, 5, 4, 6)),
    ],
)
def test_repeats_take_what_skipped_layers_leave_free_and_then_the_extra_slots(text, slots):
    assert slots_of(LayerProgram.parse(text).layers, 6) == slots
