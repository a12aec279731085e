from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from reasonprune.cot.anchor import matched, written_route
from reasonprune.cot.backends import NoBackend
from reasonprune.cot.compressor import Chain
from reasonprune.cot.steps import split_steps

CHAIN = "We start with three eggs.\n\nHmm, or were it four?\n\nAdding two gives five eggs.\n\nSo the answer is five."
STEPS = split_steps(CHAIN)


def test_an_extract_is_matched_with_the_steps_it_was_copied_from() -> None:
    assert matched(CHAIN, STEPS, "We start with three eggs.\n\nSo the answer is five.") == {0, 3}


def test_small_changes_are_told_apart_from_inventions() -> None:
    assert matched(CHAIN, STEPS, "We start with 3 eggs.\n\nAdding two gives five.") == {0, 2}
    assert matched(CHAIN, STEPS, "We start with three eggs.\n\nThe moon is made of cheese.") is None


def test_the_order_must_be_that_of_the_chain() -> None:
    assert matched(CHAIN, STEPS, "Adding two gives five eggs.\n\nWe start with three eggs.") is None


def test_nothing_is_no_extract() -> None:
    assert matched(CHAIN, STEPS, "") is None


class Scripted(NoBackend):
    """Writes what it is told: a model cannot be made to fail the check on demand."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.asked: list[tuple[str, float]] = []

    async def write(self, messages: Sequence[Any], max_tokens: int, temperature: float) -> str:
        self.asked.append((messages[0]["content"], temperature))
        return self.texts.pop(0)


async def test_attempts_go_on_until_one_is_a_true_extract() -> None:
    backend = Scripted("3+2=5", "I would rather say it in my own words.", "Adding two gives five eggs.")
    assert await written_route(Chain(CHAIN, "How many?", "five"), backend) == {2}
    assert "How many?" in backend.asked[0][0]
    assert "3+2=5" in backend.asked[1][0]
    assert [temperature for _, temperature in backend.asked] == [0.0, 0.0, pytest.approx(0.3)]


async def test_without_a_true_extract_there_is_no_route() -> None:
    backend = Scripted("3+2=5", *["Cheese and moon."] * 2)
    assert await written_route(Chain(CHAIN), backend, attempts=2) is None
