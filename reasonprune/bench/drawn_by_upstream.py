"""Traces and scores by any OpenAI-compatible server: its chat completions, and the log-probabilities they carry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from reasonprune.answers import MathChecker
from reasonprune.bench.dataset import Question
from reasonprune.bench.drawn import SHARES, Cost, Drawn, Draws, Grader
from reasonprune.engine.upstream import Upstream
from reasonprune.engine.user_turn import user_turn
from reasonprune.errors import ModelError
from reasonprune.judges.snapshot import Snapshot
from reasonprune.selfeval.upstream import UpstreamEvaluator


class UpstreamSubject:
    """Shares of a trace are shares of its characters here: the server's tokens are its own."""

    def __init__(self, upstream: Upstream, draws: Draws, checker: MathChecker) -> None:
        self._upstream = upstream
        self._draws = draws
        self._checker = checker

    async def draw(self, question: Question, index: int, cost: Cost) -> list[Drawn]:
        grader, draws = Grader(self._checker, question), self._draws

        async def one(k: int) -> Drawn:
            answer = await self._upstream.chat(
                self._messages(question),
                max_tokens=draws.max_tokens,
                temperature=draws.temperature,
                top_p=draws.top_p,
                seed=draws.seed_of(index, k),
            )
            choice = answer["choices"][0]
            text = str(choice["message"].get("content") or "")
            cost.sampled_tokens += int((answer.get("usage") or {}).get("completion_tokens") or 0)
            return await grader.drawn((), text, choice.get("finish_reason") == "stop")

        return list(await asyncio.gather(*(one(k) for k in range(draws.n))))

    async def score(self, question: Question, index: int, traces: Sequence[Drawn], cost: Cost) -> None:
        evaluator = UpstreamEvaluator(self._upstream, self._messages(question))
        for share in SHARES:
            snapshots = []
            for k, trace in enumerate(traces):
                text = trace.text[: max(1, round(len(trace.text) * share))]
                snapshots.append(Snapshot(k, 0, text, question.question, (), share == 1))
            began = time.perf_counter()
            evaluation = await evaluator.evaluate(snapshots)
            if not any(evaluation.scores):
                raise ModelError(
                    f"The server {self._upstream.base} names neither Yes nor No among the likely replies to the "
                    "evaluation turn, so there is nothing to measure. Use a model that follows instructions."
                )
            cost.add(evaluation, (time.perf_counter() - began) * 1000)
            for trace, score in zip(traces, evaluation.scores, strict=True):
                trace.scores[share] = score

    def _messages(self, question: Question) -> list[dict[str, str]]:
        return [{"role": "user", "content": user_turn(question.question, self._upstream.model or "")}]
