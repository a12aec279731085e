from dataclasses import dataclass, field

import pytest

from reasonprune.judges.judge import Judgement
from reasonprune.judges.probe import Forced, ProbeJudge
from reasonprune.judges.snapshot import Snapshot


@dataclass
class Force:
    """Forces the answers given by trace, for 3 tokens each; notes which trace was forced at which length."""

    answers: dict[int, str | None]
    forced: list[tuple[int, int]] = field(default_factory=list)

    async def __call__(self, snapshot: Snapshot) -> Forced:
        self.forced.append((snapshot.trace, snapshot.tokens))
        return self.answers[snapshot.trace], 3


def running(trace: int, tokens: int = 10) -> Snapshot:
    return Snapshot(trace, tokens, "")


def ended(trace: int, answer: str | None) -> Snapshot:
    return Snapshot(trace, 20, "", ended=True, answer=answer)


@pytest.mark.parametrize(
    ("first", "second", "similarity"), [("a", "a", 1.0), ("a", "b", 0.0), ("a", None, 0.0), (None, None, 0.0)]
)
async def test_traces_are_alike_if_they_answer_the_same_and_do_answer(first, second, similarity):
    judge = ProbeJudge(Force({0: first, 1: second}))
    assert await judge.judge([(running(0), running(1))]) == Judgement([similarity], generated=6)
    assert await judge.judge([(running(0), ended(1, second))]) == Judgement([similarity])
    assert await judge.judge([(ended(0, first), ended(1, second))]) == Judgement([similarity])


async def test_similarities_come_in_the_order_of_the_pairs():
    judge = ProbeJudge(Force({0: "a", 1: "b", 2: "a"}))
    pairs = [(running(2), running(1)), (running(2), running(0)), (running(0), running(1))]
    assert (await judge.judge(pairs)).similarities == [0.0, 1.0, 0.0]


async def test_a_trace_is_forced_once_at_each_length():
    force = Force({0: "a", 1: "a"})
    judge = ProbeJudge(force)
    pairs = [(running(0), running(1)), (running(1), running(0)), (running(0), ended(2, "a"))]
    assert (await judge.judge(pairs)).generated == 6
    assert force.forced == [(0, 10), (1, 10)]
    assert (await judge.judge(pairs)).generated == 0
    assert await judge.judge([(running(0, 15), running(1))]) == Judgement([1.0], generated=3)
    assert force.forced == [(0, 10), (1, 10), (0, 15)]


async def test_a_longer_trace_may_answer_otherwise():
    force = Force({0: "a"})
    judge = ProbeJudge(force)
    assert (await judge.judge([(running(0), ended(1, "a"))])).similarities == [1.0]
    force.answers[0] = "b"
    assert (await judge.judge([(running(0, 15), ended(1, "a"))])).similarities == [0.0]


async def test_what_has_ended_is_never_forced():
    force = Force({0: "a"})
    judge = ProbeJudge(force)
    await judge.judge([(running(0), ended(1, "b")), (ended(1, "b"), ended(2, None))])
    assert force.forced == [(0, 10)]
    # What it was forced to answer before does not count any more.
    assert (await judge.judge([(ended(0, "b"), ended(1, "b"))])).similarities == [1.0]


async def test_no_pairs_are_no_work():
    assert await ProbeJudge(Force({})).judge([]) == Judgement([])


async def test_an_answer_that_cannot_be_forced_is_the_callers_to_know():
    with pytest.raises(KeyError):
        await ProbeJudge(Force({})).judge([(running(0), running(1))])
