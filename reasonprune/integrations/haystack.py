"""A Haystack component. Needs `haystack-ai`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from reasonprune.integrations.pruning import Kept, Prunes, RemotePruner, Settings, pruned, pruned_async


@component
class ContextPruningComponent:
    """Removes from documents what does not help to answer the query; ids, meta and scores stay.

    `url` and `api_key` name a server whose `/v1/prune` does it; unset: the pruner that ships, in this process. The meta
    gain `relevance_score` and `compression_rate` (percent). `top_k` sorts by relevance and keeps so many.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        threshold: float | None = None,
        always_select_title: bool = False,
        top_k: int | None = None,
        keep_empty: bool = False,
    ) -> None:
        self.url, self._api_key = url, api_key
        self.settings = Settings(threshold, always_select_title, top_k, keep_empty)
        self.pruner: Prunes | None = RemotePruner(url, api_key) if url else None

    def to_dict(self) -> dict[str, Any]:
        """For saved pipelines; a key is never written."""
        return default_to_dict(self, url=self.url, **vars(self.settings))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ContextPruningComponent:
        made: ContextPruningComponent = default_from_dict(cls, data)
        return made

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document]) -> dict[str, list[Document]]:
        """The documents of which something is left, as copies; those without text go on as they are."""
        kept = pruned(self.pruner, query, [document.content or "" for document in documents], self.settings)
        return {"documents": [_made(documents[one.index], one) for one in kept]}

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, documents: list[Document]) -> dict[str, list[Document]]:
        """As `run`, off the event loop."""
        texts = [document.content or "" for document in documents]
        kept = await pruned_async(self.pruner, query, texts, self.settings)
        return {"documents": [_made(documents[one.index], one) for one in kept]}


def _made(document: Document, kept: Kept) -> Document:
    meta = document.meta | {"relevance_score": kept.score, "compression_rate": kept.removed}
    return replace(document, content=kept.text, meta=meta)
