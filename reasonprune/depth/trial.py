"""Trying layer programs on questions, on a live engine: what each answers, and at what cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
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

LIMITS: dict[str, Any] = {"kv_cache_memory_bytes": 1 << 30}


@dataclass(frozen=True)
class Answer:
    """What a program answered greedily: the answer's class (None: none), whether it is the gold one, and its tokens."""

    answer: str | None
    right: bool
    tokens: int


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
        from reasonprune.depth.request import ProgrammedEngine
        from reasonprune.engine.offline import sampling

        engine = self._engine if program == self.full else ProgrammedEngine(self._engine, program)
        params = sampling(0, 1, min(asked.tokens, tokens or asked.tokens), None)
        final = None
        async for output in engine.generate(asked.prompt, params, f"trial-{next(self._numbers)}"):
            final = output.outputs[0]
        assert final is not None, "the engine ends every request with an output"
        answer = answer_of(asked, final.text, self._classes)
        return Answer(answer, answer == gold_of(asked, self._classes), len(final.token_ids))


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
