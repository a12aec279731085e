"""A LlamaIndex node postprocessor. Needs `llama-index-core`."""

from __future__ import annotations

from typing import Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import ConfigDict

from reasonprune.errors import RequestError
from reasonprune.integrations.pruning import Kept, Settings, pruned, pruned_async


class ContextPruningPostprocessor(BaseNodePostprocessor):
    """Removes from nodes what does not help to answer the query; ids, metadata, relationships and scores stay.

    `pruner`: a `ContextPruner` or `RemotePruner`; unset: the one that ships. The metadata gain `relevance_score` and
    `compression_rate` (percent), which are kept from the LLM and from embeddings. `top_k` sorts by relevance.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    pruner: Any = None
    threshold: float | None = None
    always_select_title: bool = False
    top_k: int | None = None
    keep_empty: bool = False

    @classmethod
    def class_name(cls) -> str:
        return "ContextPruningPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        kept = pruned(self.pruner, _question(query_bundle), _texts(nodes), self._settings)
        return [_made(nodes[one.index], one) for one in kept]

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        kept = await pruned_async(self.pruner, _question(query_bundle), _texts(nodes), self._settings)
        return [_made(nodes[one.index], one) for one in kept]

    @property
    def _settings(self) -> Settings:
        return Settings(self.threshold, self.always_select_title, self.top_k, self.keep_empty)


def _question(query: QueryBundle | None) -> str:
    if query is None:
        raise RequestError("Pass query_bundle or query_str: pruning depends on the question.", "query_bundle")
    return query.query_str


def _texts(nodes: list[NodeWithScore]) -> list[str]:
    return [node.node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes]


def _made(given: NodeWithScore, kept: Kept) -> NodeWithScore:
    node = given.node.model_copy(deep=True)
    node.set_content(kept.text)
    own = {"relevance_score": kept.score, "compression_rate": kept.removed}
    node.metadata = node.metadata | own
    node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, *own]
    node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, *own]
    return NodeWithScore(node=node, score=given.score)
