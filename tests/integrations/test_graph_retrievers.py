"""The graph retrievers in the frameworks themselves."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from reasonprune.errors import GraphError

if find_spec("sentence_transformers") is None:
    pytest.skip("sentence-transformers is not installed; run `make setup`", allow_module_level=True)

QUESTION = "who directed [Red Dunes]"
PATH = '{"Red Dunes"} -> directed by -> {"Ada Lang"}'


@pytest.fixture
def graph(tmp_path: Path) -> str:
    file = tmp_path / "films.tsv"
    file.write_text("Red Dunes\tdirected_by\tAda Lang\nRed Dunes\tstarred_actors\tBen Ode\n")
    return str(file)


async def test_langchain(graph: str) -> None:
    pytest.importorskip("langchain_core")
    from reasonprune.integrations.langchain_graph import GraphRetriever

    retriever = GraphRetriever.of(graph, max_paths=2)
    documents = retriever.invoke(QUESTION)
    assert documents[0].page_content == PATH
    assert documents[0].metadata["answers"] == ["Ada Lang"]
    assert len(documents) <= 2
    assert (await retriever.ainvoke(QUESTION))[0] == documents[0]


async def test_llama_index(graph: str) -> None:
    pytest.importorskip("llama_index.core")
    from reasonprune.integrations.llama_index_graph import GraphRetriever

    retriever = GraphRetriever(graph, max_paths=2)
    (first, *_) = retriever.retrieve(QUESTION)
    assert first.node.get_content() == PATH
    assert first.score is not None
    assert (await retriever.aretrieve(QUESTION))[0].node.get_content() == PATH


def test_one_place_to_ask() -> None:
    from reasonprune.integrations.graph_query import GraphQuery

    with pytest.raises(ValueError, match="one of graph"):
        GraphQuery()
    with pytest.raises(GraphError, match="failed"):
        GraphQuery(url="http://127.0.0.1:9")(QUESTION)
