"""Trying layer programs on questions, on a live engine: what each answers, and at what cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from reasonprune.answers import AnswerClasses, MathChecker
from reasonprune.bench.dataset import Question
from reasonprune.depth.program import LayerProgram
from reasonprune.depth.questions import Asked, answer_of, ask, gold_of
from reasonprune.depth.support import DepthSupport
from reasonprune.errors import ModelError

TRIED_AT_ONCE = 16
SPARE_TOKENS = 8  # beyond what a program's answer may take to be worth it
LIMITS: dict[str, Any] = {"kv_cache_memory_bytes": 1 << 29}


@dataclass(frozen=True)
class Answer:
    """What a program answered greedily: the answer's class (None: none), whether it is the gold one, its token ids."""

    answer: str | None
    right: bool
    ids: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return len(self.ids)


class Bench:
    """An engine on which programs are tried; full depth is `LayerProgram.full(bench.support.layers)`."""

    def __init__(self, engine: Any, model: str, support: DepthSupport, classes: AnswerClasses, max_tokens: int) -> None:
        self.support = support
        self._engine, self._model, self._classes, self._max_tokens = engine, model, classes, max_tokens
        self._numbers = count()

    @property
    def full(self) -> LayerProgram:
        return LayerProgram.full(self.support.layers)

    def ask(self, question: Question) -> Asked:
        return ask(self._engine, question, self._model, self._max_tokens)

    async def answer(self, asked: Asked, program: LayerProgram, tokens: int | None = None) -> Answer:
        """The greedy answer of `program`, cut off after `tokens`."""
        output = await self._run(asked.prompt, program, min(asked.tokens, tokens or asked.tokens))
        completion = output.outputs[0]
        answer = answer_of(asked, completion.text, self._classes)
        return Answer(answer, answer == gold_of(asked, self._classes), tuple(completion.token_ids))

    async def agreement(self, asked: Asked, ids: Sequence[int], program: LayerProgram) -> float:
        """The share of `ids`, the full model's answer, that `program` finds likeliest at their places; one prefill."""
        read = {**asked.prompt, "prompt_token_ids": [*asked.prompt["prompt_token_ids"], *ids]}
        output = await self._run(read, program, 1, prompt_logprobs=0)
        told = output.prompt_logprobs[-len(ids) :]
        return sum(found[token].rank == 1 for token, found in zip(ids, told, strict=True)) / len(ids)

    async def _run(self, prompt: dict[str, Any], program: LayerProgram, tokens: int, **more: Any) -> Any:
        from reasonprune.depth.request import ProgrammedEngine
        from reasonprune.engine.offline import sampling

        engine = self._engine if program == self.full else ProgrammedEngine(self._engine, program)
        final = None
        async for output in engine.generate(
            prompt, sampling(0, 1, tokens, None, **more), f"trial-{next(self._numbers)}"
        ):
            final = output
        assert final is not None, "the engine ends every request with an output"
        return final


@asynccontextmanager
async def open_bench(model: str, max_tokens: int) -> AsyncIterator[Bench]:
    """Raises ModelError where the model cannot run layer programs."""
    from reasonprune.depth.support import support_of
    from reasonprune.engine.offline import open_engine

    with MathChecker() as checker:
        async with open_engine(model, **LIMITS) as engine:
            support = support_of(engine.vllm_config)
            if support.reason:
                raise ModelError(f"{model} cannot run layer programs: {support.reason}.")
            yield Bench(engine, model, support, AnswerClasses(checker), max_tokens)


async def tried(bench: Bench, asked: Asked, full: Answer, program: LayerProgram) -> Answer:
    """What the program answers, cut off where it has run more layers than full depth did for its own answer."""
    if program == bench.full:
        return full
    worth = round(full.tokens * max(1.0, bench.full.cost / program.cost))
    return await bench.answer(asked, program, worth + SPARE_TOKENS)


async def right_of(bench: Bench, asked: Asked, full: Answer, program: LayerProgram) -> float:
    """1 where the program answers right, 0 where not."""
    return float((await tried(bench, asked, full, program)).right)


async def agreement_of(bench: Bench, asked: Asked, full: Answer, program: LayerProgram) -> float:
    """The share of the full model's tokens that the program would have drafted."""
    return 1.0 if program == bench.full else await bench.agreement(asked, full.ids, program)


Trial = Callable[[Bench, Asked, Answer, LayerProgram], Awaitable[float]]


async def try_all(
    bench: Bench,
    questions: Sequence[Question],
    programs: Sequence[LayerProgram],
    trial: Trial,
    progress: Callable[[int, int], None],
) -> list[list[float]]:
    """By program, then by question: what `trial` says. One program after the other: they share no batch well."""
    gate, done = asyncio.Semaphore(TRIED_AT_ONCE), 0
    asked = [bench.ask(question) for question in questions]

    async def one(place: int, program: LayerProgram) -> float:
        nonlocal done
        async with gate:
            found = await trial(bench, asked[place], full[place], program)
        done += 1
        progress(done, len(questions) * len(programs))
        return found

    async def answer(place: int) -> Answer:
        async with gate:
            return await bench.answer(asked[place], bench.full)

    places = range(len(questions))
    full = await asyncio.gather(*(answer(place) for place in places))
    return [await asyncio.gather(*(one(place, program) for place in places)) for program in programs]
