"""The components in real pipelines of their frameworks, over real retrievers, and over HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

pytest.importorskip("torch")

from reasonprune.errors import EngineError, RequestError
from reasonprune.integrations.pruning import RemotePruner, Settings, pruned

TOWER = "The tower stands in Paris. The tower is 330 metres tall. Lunch is expensive. Pigeons like the lawns."
BEES = "Bees make honey in hives. A hive has one queen. Wasps build nests of paper."
TALL = "How tall is the tower?"
TEXTS = {"a": BEES, "b": TOWER}


def test_only_what_helps_is_left_and_order_is_kept_unless_ranked() -> None:
    kept = pruned(None, TALL, [BEES, TOWER], Settings(keep_empty=True))
    assert [one.index for one in kept] == [0, 1]
    assert "330" in kept[1].text
    [best] = pruned(None, TALL, [BEES, TOWER], Settings(top_k=1))
    assert (best.index, best.text) == (1, kept[1].text)
    assert pruned(None, TALL, [], Settings()) == []
    assert pruned(None, TALL, [BEES], Settings(threshold=1.0)) == []


def test_langchain() -> None:
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document
    from langchain_core.runnables import RunnableLambda

    from reasonprune.integrations.langchain import ContextPruningCompressor

    documents = [Document(page_content=text, metadata={"source": name}, id=name) for name, text in TEXTS.items()]
    compressor = ContextPruningCompressor(top_k=1)
    retriever = RunnableLambda(lambda query: documents)
    chain = retriever | RunnableLambda(lambda found: compressor.compress_documents(found, TALL))
    [left] = chain.invoke(TALL)
    assert (left.id, left.metadata["source"]) == ("b", "b")
    assert "330" in left.page_content
    assert 0 < left.metadata["relevance_score"] <= 1
    assert documents[1].page_content == TOWER
    assert asyncio.run(compressor.acompress_documents(documents, TALL)) == [left]


def test_llama_index() -> None:
    pytest.importorskip("llama_index.core")
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    from reasonprune.integrations.llama_index import ContextPruningPostprocessor

    nodes = [
        NodeWithScore(node=TextNode(text=text, id_=name, metadata={"page": 3}), score=0.5)
        for name, text in TEXTS.items()
    ]
    post = ContextPruningPostprocessor(top_k=1)
    [left] = post.postprocess_nodes(nodes, query_str=TALL)
    assert (left.node.node_id, left.score, left.node.metadata["page"]) == ("b", 0.5, 3)
    assert "330" in left.node.get_content()
    assert "relevance_score" in left.node.excluded_llm_metadata_keys
    assert nodes[1].node.get_content() == TOWER
    [again] = asyncio.run(post.apostprocess_nodes(nodes, QueryBundle(TALL)))
    assert again.node.get_content() == left.node.get_content()
    with pytest.raises(RequestError, match="query_bundle"):
        post.postprocess_nodes(nodes)


def test_haystack() -> None:
    pytest.importorskip("haystack")
    from haystack import Document, Pipeline
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    from reasonprune.integrations.haystack import ContextPruningComponent

    store = InMemoryDocumentStore()
    store.write_documents([Document(id=name, content=text, meta={"page": 3}) for name, text in TEXTS.items()])
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(store))
    pipeline.add_component("pruner", ContextPruningComponent(top_k=1))
    pipeline.connect("retriever.documents", "pruner.documents")
    ours = ["reasonprune.integrations.*"]  # Haystack loads foreign classes only where it is told to
    pipeline = Pipeline.loads(pipeline.dumps(), allowed_modules=ours)
    pipeline.get_component("retriever").document_store.write_documents(store.filter_documents(), "overwrite")
    [left] = pipeline.run({"retriever": {"query": TALL}, "pruner": {"query": TALL}})["pruner"]["documents"]
    assert (left.id, left.meta["page"]) == ("b", 3)
    assert "330" in left.content
    assert left.score is not None
    component = ContextPruningComponent(top_k=1)
    again = asyncio.run(component.run_async(TALL, [Document(id="b", content=TOWER)]))
    assert "330" in again["documents"][0].content


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        good = self.headers["authorization"] == "Bearer key"
        body = b'{"pruned_context": ["x"], "reranking_score": [0.5], "compression_rate": [50.0]}'
        self.send_response(200 if good else 401)
        self.end_headers()
        self.wfile.write(body if good else b'{"error": {"message": "no key"}}')

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_refuses_or_is_not_there(url: str) -> None:
    assert pruned(RemotePruner(url, "key"), TALL, [TOWER], Settings())[0].text == "x"
    with pytest.raises(RequestError, match="no key"):
        RemotePruner(url).process(TALL, [TOWER])
    with pytest.raises(EngineError, match="cannot be asked"):
        RemotePruner("http://127.0.0.1:9").process(TALL, [TOWER])
