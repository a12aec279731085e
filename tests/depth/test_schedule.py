from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reasonprune.depth import LayerProgram
from reasonprune.depth.schedule import schedule

programs = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=9).map(tuple), min_size=1, max_size=4, unique=True)


@given(programs.map(tuple))
def test_every_program_runs_whole_and_in_order(programs):
    ran = {number: [] for number in range(len(programs))}
    for step in schedule(programs):
        assert step.members, "no step is for nobody"
        for number, position in step.members:
            assert position == len(ran[number])
            ran[number].append(step.layer)
    assert [tuple(ran[number]) for number in ran] == list(programs)


@given(programs.map(tuple))
def test_it_is_no_longer_than_all_programs_one_after_the_other(programs):
    steps = schedule(programs)
    assert max(map(len, programs)) <= len(steps) <= sum(map(len, programs))


def test_programs_that_only_skip_share_every_layer():
    written = ("0-29", "0-9,12-29", "0-3,6-20,25-29", "0-1,5-29")
    steps = schedule(tuple(LayerProgram.parse(text).layers for text in written))
    assert [step.layer for step in steps] == list(range(30))
    assert dict(steps[12].members) == {0: 12, 1: 10, 2: 10, 3: 9}


def test_a_repeat_costs_the_others_nothing():
    steps = schedule((LayerProgram.parse("0-5,5,6-9").layers, LayerProgram.full(10).layers))
    assert len(steps) == 11
    assert sum(len(step.members) == 1 for step in steps) == 1
