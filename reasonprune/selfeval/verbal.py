"""Self-evaluation by asking: the probability of "No" to "would you do better by starting over?", read in one step."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from reasonprune.judges.snapshot import Snapshot
from reasonprune.selfeval.score import Evaluation, SelfScore
from reasonprune.selfeval.turn import Asked, EvaluationTurn


@dataclass(frozen=True, slots=True)
class Replies:
    """Log-probabilities of both replies' first tokens, and the tokens that were read and written for them."""

    restart: float
    go_on: float
    prompted: int
    generated: int = 1

    @property
    def content(self) -> float:
        """p(No) / (p(No) + p(Yes)); NaN where both are impossible, or were not numbers."""
        most = max(self.restart, self.go_on)
        if not math.isfinite(most):
            return math.nan
        restart, go_on = math.exp(self.restart - most), math.exp(self.go_on - most)
        return go_on / (restart + go_on)


Ask = Callable[[Asked, tuple[int, int]], Awaitable[Replies]]
"""An evaluation turn and the two tokens (restart, go on) to their log-probabilities as the next token, one step."""


class AskingEvaluator:
    """The kinds `verbal` and `adapter`: the latter's `ask` goes to the model with its LoRA on the turn."""

    def __init__(self, turn: EvaluationTurn, prompt_ids: Sequence[int], ask: Ask) -> None:
        self._turn = turn
        self._prompt_ids = prompt_ids
        self._ask = ask

    async def evaluate(self, snapshots: Sequence[Snapshot]) -> Evaluation:
        turn = self._turn
        prompts = [turn.prompt(self._prompt_ids, snapshot.token_ids, snapshot.text) for snapshot in snapshots]
        replies = await asyncio.gather(*(self._ask(prompt, (turn.restart, turn.go_on)) for prompt in prompts))
        scores: list[SelfScore | None] = [SelfScore(reply.content) for reply in replies]
        return Evaluation(scores, sum(r.generated for r in replies), sum(r.prompted for r in replies))
