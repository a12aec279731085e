"""Context pruning on the server: before prefill in chat requests, and as routes of its own.

One pruner a process, opened when it is first asked for, used by one request at a time in a thread. A pruner that
cannot be opened, or fails, changes nothing: the request goes on as it came, and the account says why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from reasonprune.accounting import Account
from reasonprune.api.request import CHAT_ROUTE, Prepared
from reasonprune.errors import ReasonpruneError
from reasonprune.metrics import METRICS
from reasonprune.options import ContextOptions
from reasonprune.pruner.messages import Found, Passage, find, replaced
from reasonprune.pruner.process import ContextPruner

logger = logging.getLogger(__name__)
SHOWN_CHARACTERS = 160
"""Of a removed stretch, in the account."""


class PrunerService:
    """The server's pruner."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._pruner: ContextPruner | None = None
        self._lock = asyncio.Lock()

    async def process(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """As `ContextPruner.process`, off the event loop."""
        async with self._lock:
            return await asyncio.to_thread(lambda: self._opened().process(*arguments, **options))

    async def rerank(self, question: str, documents: list[str]) -> tuple[list[float], int]:
        """As `ContextPruner.rerank`, off the event loop; and the tokens of the question and all documents."""

        def ranked() -> tuple[list[float], int]:
            pruner = self._opened()
            return pruner.rerank(question, documents), pruner.count_tokens([question, *documents])

        async with self._lock:
            return await asyncio.to_thread(ranked)

    def _opened(self) -> ContextPruner:
        if self._pruner is None:
            self._pruner = ContextPruner.from_pretrained(self._name) if self._name else ContextPruner()
        return self._pruner


async def prune_request(service: PrunerService, path: str, prepared: Prepared) -> Prepared:
    """The request with its contexts pruned, where that was asked for; what was done is in its account. Never raises."""
    options, account = prepared.context.options.context, prepared.context.account
    if options is None:
        return prepared
    if path != CHAT_ROUTE:
        account.skip("context", f"{path} has no messages to tell contexts from the question; use {CHAT_ROUTE}")
        return prepared
    began = time.perf_counter()
    try:
        found = find(prepared.body, options.from_characters, options.user_text)
        if reason := _nothing_to_do(found, options):
            account.skip("context", reason)
            return prepared
        result = await service.process(
            found.question,
            [passage.text for passage in found.passages],
            threshold=options.threshold,
            always_select_title=options.title,
            return_spans=True,
        )
        texts = result["pruned_context"]
        if not any(text.strip() for text in texts):
            account.skip("context", "no sentence was above the threshold; all stays, so that the answer is not guessed")
            return prepared
        body = replaced(prepared.body, found.passages, texts)
        record(account, found.passages, result, (time.perf_counter() - began) * 1000)
        return Prepared(body, prepared.context)
    except Exception as error:
        if not isinstance(error, ReasonpruneError):
            logger.exception("Context pruning failed; the request goes on with its contexts whole.")
        METRICS.failures.labels("context").inc()
        account.context = None
        account.skip("context", f"failed ({type(error).__name__}: {error}); the contexts stay whole")
        return prepared
    finally:
        account.overhead_ms += (time.perf_counter() - began) * 1000


def _nothing_to_do(found: Found, options: ContextOptions) -> str | None:
    if not found.passages:
        return (
            "no tool result, document or long context of at least"
            f" {options.from_characters} characters (context.from_characters) is in the request"
        )
    return None if found.question else "no message of the user says what the contexts are to answer"


def record(account: Account, passages: list[Passage], result: dict[str, Any], ms: float) -> None:
    """Puts what was kept and removed, passage by passage, into the account and the metrics."""
    listed: list[dict[str, Any]] = [
        {
            "where": passage.where,
            "characters": len(passage.text),
            "kept": len(text),
            "relevance": None if score is None else round(score, 4),
            "removed": _removed(passage.text, spans),
        }
        for passage, text, score, spans in zip(
            passages, result["pruned_context"], result["reranking_score"], result["kept_spans"], strict=True
        )
    ]
    before, after = (sum(one[name] for one in listed) for name in ("characters", "kept"))
    account.context = {
        "lossless": False,
        "characters": before,
        "kept": after,
        "removed_share": round(1 - after / before, 4),
        "ms": round(ms, 1),
        "passages": listed,
    }
    METRICS.context.labels("kept").inc(after)
    METRICS.context.labels("removed").inc(before - after)


def _removed(text: str, kept: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """The stretches between what was kept: where they were, and how they begin."""
    bounds = [0, *(edge for span in kept for edge in span), len(text)]
    gaps = [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if text[a:b].strip()]
    return [{"start": a, "end": b, "text": text[a:b][:SHOWN_CHARACTERS]} for a, b in gaps]
