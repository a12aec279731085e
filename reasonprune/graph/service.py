"""The server's graphs: opened once, asked by the route and by chat requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reasonprune.errors import GraphError, ModelError, RequestError
from reasonprune.graph.advisor import Model
from reasonprune.graph.pipeline import PathsOverGraph, Result
from reasonprune.options import GraphOptions, StoreOptions

logger = logging.getLogger(__name__)

# The evidence goes before the question in one message, so that a template without room for a second one takes it.
PROMPT = "{evidence}\n\nUse the facts above where they help to answer.\n\n{question}"


@dataclass(frozen=True)
class Enriched:
    """A chat's messages with the evidence, and what to put into the account."""

    messages: list[Any]
    result: Result


class GraphService:
    """Opens a graph when it is first asked for, and keeps it. One event loop."""

    def __init__(self, stores: Mapping[str, StoreOptions]) -> None:
        self._stores = stores
        self._open: dict[str, PathsOverGraph] = {}
        self._opening = asyncio.Lock()
        self.model: Model | None = None

    def check(self, options: GraphOptions) -> None:
        """Raises RequestError where the request names a graph that the server does not have."""
        if options.store not in self._stores:
            known = ", ".join(sorted(self._stores)) or "none (start with --reasonprune.stores.NAME.path FILE)"
            raise RequestError(
                f"reasonprune.graph.store is '{options.store}'. Graphs of this server: {known}.",
                "reasonprune.graph.store",
            )

    async def query(self, question: str, options: GraphOptions) -> Result:
        """Raises RequestError, and GraphError or ModelError where the graph or the encoder cannot be used."""
        self.check(options)
        if options.llm and self.model is None:
            raise RequestError("graph.llm: this server has no model that writes text.", "graph.llm")
        pipeline = await self._pipeline(options.store)
        return await pipeline.answer(question, options, self.model if options.llm else None)

    async def _pipeline(self, name: str) -> PathsOverGraph:
        async with self._opening:
            if name not in self._open:
                self._open[name] = await asyncio.to_thread(_open, self._stores[name])
            return self._open[name]

    async def enrich(self, messages: Any, options: GraphOptions) -> Enriched | str:
        """A chat's messages with the evidence before its last question, or the reason why there is none."""
        at = _question_at(messages)
        if at is None:
            return "the request has no user message with text"
        question = _text(messages[at]["content"])
        try:
            result = await self.query(question, options)
        except (GraphError, ModelError) as error:
            return error.message
        if not result.evidence:
            return f"no evidence: {result.reason}"
        filled = PROMPT.format(evidence=result.evidence, question=question)
        return Enriched([*messages[:at], {**messages[at], "content": filled}, *messages[at + 1 :]], result)


def _open(options: StoreOptions) -> PathsOverGraph:
    from reasonprune.graph.stores import open_store
    from reasonprune.sentence_encoder import shared_encoder

    return PathsOverGraph(open_store(options), shared_encoder())


def _question_at(messages: Any) -> int | None:
    """The position of the last message of the user that is text."""
    if not isinstance(messages, list):
        return None
    for at in range(len(messages) - 1, -1, -1):
        message = messages[at]
        if isinstance(message, dict) and message.get("role") == "user":
            return at if _text(message.get("content")).strip() else None
    return None


def _text(content: Any) -> str:
    """A message's text, also where it comes as one text part; nothing where it has images or several parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        text = content[0].get("text")
        return text if content[0].get("type") == "text" and isinstance(text, str) else ""
    return ""
