"""What the components have in common: a pruner in this process, or a server's `/v1/prune`."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reasonprune.errors import EngineError, RequestError

TIMEOUT_S = 120.0


class Prunes(Protocol):
    """`ContextPruner`, or anything with its `process`."""

    @property
    def process(self) -> Callable[..., dict[str, Any]]:
        """As `ContextPruner.process`."""


@dataclass(frozen=True)
class RemotePruner:
    """A server's pruner: `reasonprune serve` at `url`, such as http://localhost:8000."""

    url: str
    api_key: str | None = None

    def process(self, question: str, context: list[str], **options: Any) -> dict[str, Any]:
        """Raises RequestError with the server's words for what it refuses, EngineError where it cannot be reached."""
        body = json.dumps({"question": question, "context": context, **options}).encode()
        headers = {"content-type": "application/json"}
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        request = urllib.request.Request(self.url.rstrip("/") + "/v1/prune", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                result: dict[str, Any] = json.loads(answer.read())
                return result
        except urllib.error.HTTPError as error:
            with error:
                raise RequestError(f"{self.url} refused to prune ({error.code}): {_message(error.read())}") from None
        except (OSError, ValueError) as error:
            raise EngineError(f"{self.url} cannot be asked to prune: {error}") from None


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]


@dataclass(frozen=True)
class Settings:
    """How a component prunes. `keep_empty`: documents of which nothing is left go on empty, else they are dropped."""

    threshold: float | None = None
    always_select_title: bool = False
    top_k: int | None = None
    keep_empty: bool = False


@dataclass(frozen=True)
class Kept:
    """A document after pruning: its index among those given, its text, its score, and the percentage that went."""

    index: int
    text: str
    score: float
    removed: float


_lock = threading.Lock()
_shared: list[Prunes] = []


def shared_pruner() -> Prunes:
    """The pruner that ships with reasonprune, opened once a process."""
    from reasonprune.pruner import ContextPruner

    with _lock:
        if not _shared:
            _shared.append(ContextPruner())
        return _shared[0]


def pruned(pruner: Prunes | None, question: str, texts: Sequence[str], settings: Settings) -> list[Kept]:
    """What is left of the texts, in their order, or best first and at most `top_k` of them where that is set."""
    if not texts:
        return []
    source = pruner or shared_pruner()
    options = {"threshold": settings.threshold, "always_select_title": settings.always_select_title}
    with _lock:  # a pruner serves one thread at a time
        result = source.process(question, list(texts), **options)
    rows = zip(result["pruned_context"], result["reranking_score"], result["compression_rate"], strict=True)
    kept = [Kept(i, text, score or 0.0, rate) for i, (text, score, rate) in enumerate(rows)]
    kept = [one for one in kept if settings.keep_empty or one.text.strip()]
    return kept if settings.top_k is None else sorted(kept, key=lambda one: -one.score)[: settings.top_k]


async def pruned_async(pruner: Prunes | None, question: str, texts: Sequence[str], settings: Settings) -> list[Kept]:
    """As `pruned`, off the event loop."""
    return await asyncio.to_thread(pruned, pruner, question, texts, settings)
