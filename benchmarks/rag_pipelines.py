"""Context pruning in a pipeline of each framework, over its own retriever: what is kept of what was retrieved.

`python benchmarks/rag_pipelines.py --data xquad.en.json --json RESULT [--server URL]`: paragraphs of XQuAD are the
corpus, its questions are asked; counted is in how many of them the answer's text was retrieved, and is still there
after pruning. With `--server` the components ask an endpoint that `reasonprune serve` started.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from xquad import Asked, paragraphs

from reasonprune.bench.provenance import provenance, write
from reasonprune.integrations.pruning import RemotePruner
from reasonprune.sentence_encoder import shared_encoder

TOP = 5
Ask = Callable[[str], tuple[list[str], list[str]]]
"""The texts that were retrieved for a question, and those that are left of them."""


def read(data: Path, every: int) -> tuple[list[str], list[Asked]]:
    """All paragraphs, and every k-th question."""
    found = paragraphs(data)
    return [paragraph.text for paragraph in found], [asked for one in found for asked in one.asked][::every]


def langchain(texts: list[str], server: str | None) -> Ask:
    """A vector store as the retriever, piped into the document compressor."""
    from langchain_core.embeddings import Embeddings
    from langchain_core.runnables import RunnableLambda, RunnablePassthrough
    from langchain_core.vectorstores import InMemoryVectorStore

    from reasonprune.integrations.langchain import ContextPruningCompressor

    class MiniLM(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            vectors: list[list[float]] = shared_encoder().encode(texts).tolist()
            return vectors

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    retriever = InMemoryVectorStore.from_texts(texts, MiniLM()).as_retriever(search_kwargs={"k": TOP})
    compressor = ContextPruningCompressor(pruner=RemotePruner(server) if server else None)
    prune: Any = RunnableLambda(lambda state: compressor.compress_documents(state["found"], state["query"]))
    chain = {"query": RunnablePassthrough(), "found": retriever} | RunnablePassthrough.assign(left=prune)

    def ask(question: str) -> tuple[list[str], list[str]]:
        state = chain.invoke(question)
        found, left = ([document.page_content for document in state[key]] for key in ("found", "left"))
        return found, left

    return ask


def llama_index(texts: list[str], server: str | None) -> Ask:
    """A vector index as the retriever, the postprocessor after it."""
    from llama_index.core import VectorStoreIndex
    from llama_index.core.embeddings import BaseEmbedding
    from llama_index.core.schema import TextNode

    from reasonprune.integrations.llama_index import ContextPruningPostprocessor

    class MiniLM(BaseEmbedding):
        def _get_text_embedding(self, text: str) -> list[float]:
            vector: list[float] = shared_encoder().encode([text])[0].tolist()
            return vector

        def _get_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

    index = VectorStoreIndex([TextNode(text=text) for text in texts], embed_model=MiniLM(embed_batch_size=64))
    retriever = index.as_retriever(similarity_top_k=TOP)
    post = ContextPruningPostprocessor(pruner=RemotePruner(server) if server else None)

    def ask(question: str) -> tuple[list[str], list[str]]:
        found = retriever.retrieve(question)
        left = post.postprocess_nodes(found, query_str=question)
        return [node.node.get_content() for node in found], [node.node.get_content() for node in left]

    return ask


def haystack(texts: list[str], server: str | None) -> Ask:
    """BM25 as the retriever, joined to the component in a pipeline."""
    from haystack import Document, Pipeline
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    from reasonprune.integrations.haystack import ContextPruningComponent

    store = InMemoryDocumentStore()
    store.write_documents([Document(content=text) for text in texts])
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=TOP))
    pipeline.add_component("pruner", ContextPruningComponent(url=server))
    pipeline.connect("retriever.documents", "pruner.documents")

    def ask(question: str) -> tuple[list[str], list[str]]:
        inputs = {"retriever": {"query": question}, "pruner": {"query": question}}
        outputs = pipeline.run(inputs, include_outputs_from={"retriever"})
        found, left = (
            [document.content for document in outputs[name]["documents"]] for name in ("retriever", "pruner")
        )
        return found, left

    return ask


def measure(ask: Ask, asked: list[Asked]) -> dict[str, Any]:
    """Characters and answers before and after; the first question warms up and is asked again."""
    ask(asked[0].question)
    began = perf_counter()
    answered = [(one, *ask(one.question)) for one in asked]
    seconds = perf_counter() - began

    def holds(one: Asked, texts: list[str]) -> bool:
        return any(answer in text for answer in one.answers for text in texts)

    whole = sum(len(text) for _, found, _ in answered for text in found)
    kept = sum(len(text) for _, _, left in answered for text in left)
    still = [holds(one, left) for one, found, left in answered if holds(one, found)]
    return {
        "answer_retrieved": round(len(still) / len(asked), 4),
        "answer_kept": round(sum(still) / len(still), 4),
        "compression": round(1 - kept / whole, 4),
        "passages": round(sum(len(found) for _, found, _ in answered) / len(asked), 2),
        "passages_left": round(sum(len(left) for _, _, left in answered) / len(asked), 2),
        "ms_per_question": round(1000 * seconds / len(asked), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--server")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")
    texts, asked = read(options.data, options.every)
    frameworks = {}
    for name, build in (("LangChain", langchain), ("LlamaIndex", llama_index), ("Haystack", haystack)):
        frameworks[name] = measure(build(texts, options.server), asked)
        print(name, frameworks[name], flush=True)
    result = {"questions": len(asked), "paragraphs": len(texts), "over_http": bool(options.server)}
    write(options.json, {**result, "frameworks": frameworks, "provenance": provenance(None, options.data)})


if __name__ == "__main__":
    main()
