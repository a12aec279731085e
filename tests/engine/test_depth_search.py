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
from reasonprune.depth.searching import SearchRun, search_question
from reasonprune.depth.support import support_of
from reasonprune.depth.trial import Bench, agreement_of, right_of, try_all

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
    right = await try_all(bench, [SOLVED], programs, right_of, lambda done, total: seen.append((done, total)))
    assert right == [[1], [0]], "one layer of six cannot add"
    assert seen == [(1, 2), (2, 2)]


async def test_what_a_program_would_have_drafted_is_read_off_one_prefill(bench: Bench) -> None:
    programs = [bench.full, LayerProgram.parse("0-3,5"), LayerProgram.parse("0")]
    [whole], [most], [little] = await try_all(bench, [SOLVED], programs, agreement_of, lambda *_: None)
    assert whole == 1
    assert most > 0.5 > little
    full = await bench.answer(bench.ask(SOLVED), bench.full)
    assert await bench.agreement(bench.ask(SOLVED), full.ids, bench.full) == 1, "greedy is what is likeliest"


async def test_a_search_for_drafts_skips_layers_and_repeats_none(bench: Bench) -> None:
    run = SearchRun("tiny", "draft", simulations=12, max_tokens=120, seed=0)
    row = await search_question(bench, SOLVED, run, seed=0)
    programs = [LayerProgram.parse(text).layers for text, _ in row["tried"]]
    assert all(len(set(layers)) == len(layers) for layers in programs)
    assert all(0 <= saved < 1 for _, saved in row["tried"])


async def test_multiple_choice_is_answered_by_one_token(bench: Bench) -> None:
    reply = await bench.answer(bench.ask(CHOICE), bench.full)
    assert reply.tokens == 1
