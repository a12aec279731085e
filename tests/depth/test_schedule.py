from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reasonprune.depth import LayerProgram
from reasonprune.depth.schedule import schedule
from reasonprune.depth.slots import slots_of

programs = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=9).map(tuple), min_size=1, max_size=4, unique=True)


@given(programs.map(tuple))
def test_every_program_runs_whole_and_in_order(programs):
    ran = {number: [] for number in range(len(programs))}
    slots = {number: [] for number in range(len(programs))}
    for step in schedule(programs, 7):
        assert step.members, "no step is for nobody"
        for number, slot in step.members:
            ran[number].append(step.layer)
            slots[number].append(slot)
    assert [tuple(ran[number]) for number in ran] == list(programs)
    assert [tuple(slots[number]) for number in slots] == [slots_of(program, 7) for program in programs]


@given(programs.map(tuple))
def test_it_is_no_longer_than_all_programs_one_after_the_other(programs):
    steps = schedule(programs, 7)
    assert max(map(len, programs)) <= len(steps) <= sum(map(len, programs))


def test_programs_that_only_skip_share_every_layer():
    written = ("0-29", "0-9,12-29", "0-3,6-20,25-29", "0-1,5-29")
    steps = schedule(tuple(LayerProgram.parse(text).layers for text in written), 30)
    assert [step.layer for step in steps] == list(range(30))
    assert dict(steps[12].members) == dict.fromkeys(range(4), 12), "and its cache: one call of attention does for all"


def test_a_repeat_costs_the_others_nothing():
    steps = schedule((LayerProgram.parse("0-5,5,6-9").layers, LayerProgram.full(10).layers), 10)
    assert len(steps) == 11
    assert sum(len(step.members) == 1 for step in steps) == 1
