"""Traces and scores by a vLLM engine in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from reasonprune.answers import MathChecker
from reasonprune.bench.dataset import Question
from reasonprune.bench.drawn import SHARES, Cost, Drawn, Draws, Grader
from reasonprune.engine.offline import chat_prompt, sampling
from reasonprune.engine.self_eval import asking_evaluator, marked
from reasonprune.judges.snapshot import Snapshot
from reasonprune.selfeval.score import SelfScore


class EngineSubject:
    """`folder`: of the adapter or head. Scores are taken while nothing else runs on the engine, to be timed."""

    def __init__(
        self,
        engine: Any,
        model: str,
        kind: Literal["verbal", "adapter", "head"],
        draws: Draws,
        folder: Path | None,
        checker: MathChecker,
    ) -> None:
        self._engine = engine
        self._model = model
        self._kind = kind
        self._draws = draws
        self._folder = folder
        self._checker = checker

    async def draw(self, question: Question, index: int, cost: Cost) -> list[Drawn]:
        prompt = chat_prompt(self._engine, question.question, self._model)
        grader, draws = Grader(self._checker, question), self._draws

        async def one(k: int) -> Drawn:
            params = sampling(draws.temperature, draws.top_p, draws.max_tokens, draws.seed_of(index, k))
            if self._kind == "head":
                params = marked(params, _name(index, k), 1)
            final = None
            async for output in self._engine.generate(prompt, params, _name(index, k)):
                final = output.outputs[0]
            assert final is not None, "the engine ends every request with an output"
            cost.sampled_tokens += len(final.token_ids)
            return await grader.drawn(final.token_ids, final.text, final.finish_reason == "stop")

        return list(await asyncio.gather(*(one(k) for k in range(draws.n))))

    async def score(self, question: Question, index: int, traces: Sequence[Drawn], cost: Cost) -> None:
        if self._kind == "head":
            await self._fetch(index, traces, cost)
        else:
            await self._ask(question, index, traces, cost)

    async def step_ms(self) -> float:
        """What the value head took inside the engine's steps so far."""
        _, ms = (await self._engine.collective_rpc("fetch_values", args=([],)))[0]
        return float(ms)

    async def _ask(self, question: Question, index: int, traces: Sequence[Drawn], cost: Cost) -> None:
        prompt = chat_prompt(self._engine, question.question, self._model)
        tokenizer = self._engine.get_tokenizer()
        for share in SHARES:
            evaluator = asking_evaluator(self._engine, prompt, f"self-eval-{index}-{share}", {}, self._folder)
            snapshots = []
            for k, trace in enumerate(traces):
                ids = trace.token_ids if share == 1 else trace.token_ids[: trace.cut(share)]
                snapshots.append(Snapshot(k, len(ids), tokenizer.decode(ids), question.question, ids, share == 1))
            began = time.perf_counter()
            evaluation = await evaluator.evaluate(snapshots)
            cost.add(evaluation, (time.perf_counter() - began) * 1000)
            for trace, score in zip(traces, evaluation.scores, strict=True):
                trace.scores[share] = score

    async def _fetch(self, index: int, traces: Sequence[Drawn], cost: Cost) -> None:
        """The head's scores, which it took while the traces were written."""
        names = [_name(index, k) for k in range(len(traces))]
        began = time.perf_counter()
        rows, _ = (await self._engine.collective_rpc("fetch_values", args=(names, True)))[0]
        cost.ms += (time.perf_counter() - began) * 1000
        cost.checks += len(traces)
        for trace, row in zip(traces, rows, strict=True):
            _, last, history = row or (0, None, [])
            by_tokens = {tokens: SelfScore(*value) for tokens, value in history}
            trace.scores = {share: by_tokens.get(trace.cut(share)) for share in SHARES}
            trace.scores[1.0] = SelfScore(*last) if last is not None else None


def _name(index: int, k: int) -> str:
    return f"self-eval-{index}-{k}"
