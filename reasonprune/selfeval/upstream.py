"""Self-evaluation by a model on another server: the replies' log-probabilities among the likeliest it names."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from reasonprune.engine.upstream import Upstream
from reasonprune.errors import UnsupportedError
from reasonprune.judges.snapshot import Snapshot
from reasonprune.selfeval.score import Evaluation, SelfScore
from reasonprune.selfeval.turn import GO_ON, QUESTION, RESTART
from reasonprune.selfeval.verbal import Replies

LIKELIEST = 20  # the most that OpenAI's API gives


class UpstreamEvaluator:
    """The kind `verbal` over chat completions. `messages`: the conversation that the traces answer.

    A reply that is not among the likeliest is taken to be as likely as the last of them, which it cannot exceed; where
    neither is, there is no score.
    """

    def __init__(self, upstream: Upstream, messages: Sequence[Mapping[str, Any]]) -> None:
        self._upstream = upstream
        self._messages = list(messages)

    async def evaluate(self, snapshots: Sequence[Snapshot]) -> Evaluation:
        """Raises UnsupportedError where the server gives no log-probabilities, ModelError where it does not answer."""
        found = await asyncio.gather(*(self._ask(snapshot.text) for snapshot in snapshots))
        scores = [SelfScore(replies.content) if replies is not None else None for replies, _ in found]
        return Evaluation(scores, len(found), sum(prompted for _, prompted in found))

    async def _ask(self, text: str) -> tuple[Replies | None, int]:
        """Both replies, and the tokens of the prompt that the server says it had to read."""
        turn = [{"role": "assistant", "content": text}, {"role": "user", "content": QUESTION}]
        answer = await self._upstream.chat(
            [*self._messages, *turn], max_tokens=1, temperature=0, logprobs=True, top_logprobs=LIKELIEST
        )
        usage = answer.get("usage") or {}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        prompted = int(usage.get("prompt_tokens") or 0) - int(cached)
        rows = (answer["choices"][0].get("logprobs") or {}).get("content") or []
        likeliest = rows[0].get("top_logprobs") if rows else None
        if not likeliest:
            raise UnsupportedError(
                f"the server {self._upstream.base} gives no log-probabilities of its replies (logprobs, top_logprobs),"
                " which self-evaluation needs"
            )
        return replies_of({row["token"]: row["logprob"] for row in likeliest}, prompted), prompted


def replies_of(likeliest: Mapping[str, float], prompted: int) -> Replies | None:
    """Both replies among the likeliest next tokens, whichever spelling of each is the likelier; None without either."""

    def best(word: str) -> float:
        return max((value for token, value in likeliest.items() if token.strip() == word), default=-math.inf)

    restart, go_on, least = best(RESTART), best(GO_ON), min(likeliest.values())
    if restart == go_on == -math.inf:
        return None
    return Replies(max(restart, least), max(go_on, least), prompted)
