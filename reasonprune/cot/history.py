"""Reasoning of earlier turns, shortened before prefill: once for every turn, and from then on the same text.

A turn's text depends on the turn and on what came before it, never on what follows: the next request of a conversation
repeats the prompt of the one before it up to the newest turn, and the engine's prefix cache holds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from reasonprune.cot.backends import Backend
from reasonprune.cot.chats import Found, turns_in
from reasonprune.cot.compressor import budget_tokens, compress
from reasonprune.cot.located import locate, token_starts
from reasonprune.cot.scores import Source, TokenScores
from reasonprune.errors import ReasonpruneError

Value = TypeVar("Value")
REMEMBERED = 4096  # turns, and chains with their log-probabilities; the oldest are forgotten


class Memory(Generic[Value]):
    """The most recently used values by key, at most `size` of them."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, key: str) -> Value | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: str, value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)


@dataclass(frozen=True)
class Turn:
    """A chain as it is from now on, and what it cost; tokens are of the chain alone."""

    text: str
    before: int
    after: int
    source: Source
    note: str | None


@dataclass
class HistoryReport:
    """What became of the earlier turns of one request. `prompt_tokens_saved`: in the model's own chat template."""

    turns: list[dict[str, Any]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    prompt_tokens_saved: int = 0
    ms: float = 0.0


class History:
    """Shortens earlier turns with one backend, and remembers what it decided."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._turns: Memory[Turn] = Memory()
        self._recorded: Memory[TokenScores] = Memory()

    async def remember(self, text: str, token_ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """Keeps the log-probabilities of a chain that this server has generated: its surprisal is then free."""
        place = locate(text)
        starts = token_starts(await self._backend.tokenizer(), token_ids, text) if place.marked else None
        if starts is None or len(starts) > len(logprobs):
            return
        inside = [(s - place.start, p) for s, p in zip(starts, logprobs, strict=False) if place.start <= s < place.end]
        scores = TokenScores(tuple(s for s, _ in inside), tuple(p for _, p in inside), "recorded")
        self._recorded.put(_key(text[place.start : place.end]), scores)

    async def compress(
        self, messages: Sequence[Any], budget: float, model: str = ""
    ) -> tuple[list[Any], HistoryReport]:
        """`messages` with every marked reasoning of assistant turns cut to `budget`, and the report; the input is left
        as it is. A turn that cannot be scored stays whole and is named in the report.

        Raises RequestError for a budget that is none.
        """
        began = time.perf_counter()
        budget_tokens(budget, 1)
        # A copy of JSON: chains are put into it.
        shortened: list[Any] = json.loads(json.dumps(list(messages)))
        report = HistoryReport()
        for index, found in turns_in(shortened, marked_only=True):
            try:
                turn, known = await self._turn(found, shortened[:index], budget, model)
            except ReasonpruneError as error:
                report.failed.append(f"message {index}: {error.message}")
                continue
            found.put(turn.text)
            report.turns.append(
                {
                    "message": index,
                    "tokens": {"before": turn.before, "after": turn.after},
                    "scored_by": turn.source,
                    "decided": "earlier" if known else "now",
                    **({"note": turn.note} if turn.note else {}),
                }
            )
        if report.turns:
            report.prompt_tokens_saved = await self._saved(messages, shortened)
        report.ms = (time.perf_counter() - began) * 1000
        return shortened, report

    async def _turn(self, found: Found, before: list[Any], budget: float, model: str) -> tuple[Turn, bool]:
        key = _key(json.dumps([model, budget, before, found.opening, found.chain.text], sort_keys=True))
        if (known := self._turns.get(key)) is not None:
            return known, True
        scores = self._recorded.get(_key(found.chain.text))
        if scores is None:
            scores = await self._backend.score(before, found.opening, found.chain.text)
        result = await asyncio.to_thread(compress, found.chain, scores, budget)
        turn = Turn(result.text, result.tokens, result.kept_tokens, scores.source, result.note)
        self._turns.put(key, turn)
        return turn, False

    async def _saved(self, messages: Sequence[Any], shortened: Sequence[Any]) -> int:
        """By how many tokens the prompt is shorter; 0 where the template leaves earlier reasoning out anyway."""
        tokenizer = await self._backend.tokenizer()

        def length(rows: Sequence[Any]) -> int:
            return len(tokenizer.apply_chat_template(list(rows), tokenize=True, return_dict=True)["input_ids"])

        return length(messages) - length(shortened)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
