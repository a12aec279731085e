"""A LlamaIndex retriever over a knowledge graph: its nodes are the paths that answer, names quoted as data."""

from __future__ import annotations

from typing import Any

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from reasonprune.integrations.graph_query import GraphQuery, texts


class GraphRetriever(BaseRetriever):
    """`GraphRetriever("films.db", max_paths=3)`, or `GraphRetriever(url="http://localhost:8000", store="films")`."""

    def __init__(self, graph: str | None = None, **options: Any) -> None:
        """Takes what `GraphQuery` takes."""
        super().__init__()
        self._query = GraphQuery(graph, **options)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(self._query(query_bundle.query_str))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(await self._query.later(query_bundle.query_str))


def _nodes(result: dict[str, Any]) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(text=text, metadata=metadata), score=score)
        for text, metadata, score in texts(result)
    ]
