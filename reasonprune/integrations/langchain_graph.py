"""A LangChain retriever over a knowledge graph: its documents are the paths that answer, names quoted as data."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

from reasonprune.integrations.graph_query import GraphQuery, texts


class GraphRetriever(BaseRetriever):
    """`GraphRetriever.of("films.db", max_paths=3)`, or `.of(url="http://localhost:8000", store="films")`."""

    _query: GraphQuery = PrivateAttr()

    @classmethod
    def of(cls, graph: str | None = None, **options: Any) -> GraphRetriever:
        """Takes what `GraphQuery` takes."""
        retriever = cls()
        retriever._query = GraphQuery(graph, **options)
        return retriever

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return _documents(self._query(query))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        return _documents(await self._query.later(query))


def _documents(result: dict[str, Any]) -> list[Document]:
    return [
        Document(page_content=text, metadata={**metadata, "score": score}) for text, metadata, score in texts(result)
    ]
