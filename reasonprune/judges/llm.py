"""A language model as a judge: the probability of "yes" where it is asked whether two traces will end alike.

The paper's judge is a 4-billion-parameter model fine-tuned on such pairs (arXiv 2510.08483); its prompt was not
published. Here any served model is asked, without training or as a fine-tuned one that is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from reasonprune.judges.judge import Judgement, Pair, known
from reasonprune.judges.snapshot import Snapshot

MOST_CHARS = 4000  # of each text: the end of a longer one is shown
PROMPT = """Two attempts at one problem have been interrupted.

Problem:
{question}

First attempt:
{first}

Second attempt:
{second}

If both were continued, would they end in the same final answer? Reply with Yes or No only."""


class LlmJudge:
    """`score` gives the probability of "yes" after a prompt, and the number of tokens in it. Pairs are kept."""

    def __init__(self, score: Callable[[str], Awaitable[tuple[float, int]]]) -> None:
        self._score = score
        self._scores: dict[tuple[tuple[int, int], tuple[int, int]], float] = {}

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        fresh = [pair for pair in pairs if known(pair) is None and _key(pair) not in self._scores]
        scored = await asyncio.gather(*(self._score(_prompt(*pair)) for pair in fresh))
        for pair, (probability, _) in zip(fresh, scored, strict=True):
            self._scores[_key(pair)] = probability
        similarities = [self._scores[_key(pair)] if known(pair) is None else known(pair) or 0.0 for pair in pairs]
        return Judgement(similarities, generated=len(fresh), prompted=sum(prompted for _, prompted in scored))


def _key(pair: Pair) -> tuple[tuple[int, int], tuple[int, int]]:
    first, second = pair
    return (first.trace, first.tokens), (second.trace, second.tokens)


def _prompt(first: Snapshot, second: Snapshot) -> str:
    return PROMPT.format(question=first.question, first=first.text[-MOST_CHARS:], second=second.text[-MOST_CHARS:])
