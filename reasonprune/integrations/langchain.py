"""A LangChain document compressor, for `ContextualCompressionRetriever` or any chain. Needs `langchain-core`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict

from reasonprune.integrations.pruning import Kept, Settings, pruned, pruned_async


class ContextPruningCompressor(BaseDocumentCompressor):
    """Removes from documents what does not help to answer the query; ids and metadata stay.

    `pruner`: a `ContextPruner` or `RemotePruner`; unset: the one that ships. The metadata gain `relevance_score` and
    `compression_rate` (percent). `top_k` sorts by relevance and keeps so many.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    pruner: Any = None
    threshold: float | None = None
    always_select_title: bool = False
    top_k: int | None = None
    keep_empty: bool = False

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The documents of which something is left, as copies."""
        kept = pruned(self.pruner, query, [document.page_content for document in documents], self._settings)
        return [_made(documents[one.index], one) for one in kept]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """As `compress_documents`, off the event loop."""
        texts = [document.page_content for document in documents]
        kept = await pruned_async(self.pruner, query, texts, self._settings)
        return [_made(documents[one.index], one) for one in kept]

    @property
    def _settings(self) -> Settings:
        return Settings(self.threshold, self.always_select_title, self.top_k, self.keep_empty)


def _made(document: Document, kept: Kept) -> Document:
    metadata = document.metadata | {"relevance_score": kept.score, "compression_rate": kept.removed}
    return document.model_copy(update={"page_content": kept.text, "metadata": metadata})
