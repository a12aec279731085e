"""Search and trial of layer programs on a real engine."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; run `make setup`", allow_module_level=True)

from client_requests import QUESTION

from reasonprune.answers import AnswerClasses, MathChecker
from reasonprune.bench.dataset import Question
from reasonprune.depth import LayerProgram
from reasonprune.depth.searching import SearchRun, search_question, try_all
from reasonprune.depth.support import support_of
from reasonprune.depth.trial import Bench

SOLVED = Question(QUESTION, "35")
CHOICE = Question("Which?\n\nAnswer1: this. Answer2: that.\n\nAnswer format: answer1/answer2", "answer2")


@pytest.fixture
def bench(engine: Any) -> Iterator[Bench]:
    with MathChecker() as checker:
        yield Bench(engine, "tiny", support_of(engine.vllm_config), AnswerClasses(checker), max_tokens=120)


def test_the_engine_runs_programs(bench: Bench) -> None:
    assert (bench.support.layers, bench.support.slots, bench.support.reason) == (6, 10, None)


async def test_a_search_tries_full_depth_first_and_keeps_what_it_saw(bench: Bench) -> None:
    run = SearchRun("tiny", "agreement", simulations=6, max_tokens=120, seed=0)
    row = await search_question(bench, SOLVED, run, seed=0)
    assert row["tried"][0] == ["0-5", 1.0]
    assert 2 <= len(row["tried"]) <= 6
    assert row["full_right"] is True


async def test_all_programs_on_all_questions(bench: Bench) -> None:
    seen: list[tuple[int, int]] = []
    programs = [bench.full, LayerProgram.parse("0")]
    right = await try_all(bench, [SOLVED], programs, lambda done, total: seen.append((done, total)))
    assert right == [[True], [False]], "one layer of six cannot add"
    assert seen == [(1, 1)]


async def test_multiple_choice_is_answered_by_one_token(bench: Bench) -> None:
    reply = await bench.answer(bench.ask(CHOICE), bench.full)
    assert reply.tokens == 1
