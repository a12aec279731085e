"""`/v1/prune` and `/v1/rerank` over a real socket-less ASGI client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch")
fastapi = pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from reasonprune.api.context import PrunerService
from reasonprune.api.routes import router

TOWER = "The tower stands in Paris. The tower is 330 metres tall. Lunch is expensive."
BEES = "Bees make honey. Wasps build nests of paper."
TALL = "How tall is the tower?"


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    app = fastapi.FastAPI()
    app.include_router(router(PrunerService(None)))
    with TestClient(app) as running:
        yield running


def test_prune(client: Any) -> None:
    answer = client.post("/v1/prune", json={"question": TALL, "context": [TOWER, BEES], "return_spans": True})
    assert answer.status_code == 200
    result = answer.json()
    assert result["object"] == "prune"
    assert "330 metres" in result["pruned_context"][0]
    assert len(result["reranking_score"]) == len(result["kept_spans"]) == 2
    one = client.post("/v1/prune", json={"question": TALL, "context": TOWER, "threshold": 0.0}).json()
    assert one["pruned_context"] == TOWER


def test_rerank_as_clients_of_jina_and_vllm_do(client: Any) -> None:
    body = {"model": "m", "query": TALL, "documents": [BEES, {"text": TOWER}], "top_n": 1, "max_chunks_per_doc": 3}
    result = client.post("/v1/rerank", json=body).json()
    assert result["model"] == "m"
    [best] = result["results"]
    assert (best["index"], best["document"]) == (1, {"text": TOWER})
    assert 0 < best["relevance_score"] <= 1
    assert result["usage"]["total_tokens"] > 10
    assert result["not_applied"] == [{"key": "max_chunks_per_doc", "reason": "not known here"}]
    bare = client.post("/v1/rerank", json={"query": TALL, "documents": [BEES, TOWER], "return_documents": False}).json()
    assert [set(one) for one in bare["results"]] == [{"index", "relevance_score"}] * 2
    assert [one["index"] for one in bare["results"]] == [1, 0]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/prune", {"context": "c"}, "body.question"),
        ("/v1/prune", {"question": "q", "context": "c", "treshold": 0.1}, "body.treshold"),
        ("/v1/prune", {"question": "q", "context": "c", "threshold": 2}, "body.threshold"),
        ("/v1/prune", {"question": "", "context": "c"}, "question"),
        ("/v1/prune", {"question": ["q", "r"], "context": ["c"]}, "context"),
        ("/v1/prune", {"question": "q", "context": "c", "rounding": "up"}, "rounding"),
        ("/v1/rerank", {"query": "q", "documents": []}, "body.documents"),
        ("/v1/rerank", {"query": "q", "documents": [{"title": "t"}]}, "documents.0"),
        ("/v1/rerank", {"query": "", "documents": ["d"]}, "question"),
        ("/v1/prune", [1], None),
    ],
)
def test_errors_name_the_field(client: Any, path: str, body: Any, param: str | None) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("BadRequestError", 400, param)
    assert error["message"]


def test_a_body_that_is_not_json(client: Any) -> None:
    assert client.post("/v1/prune", content=b"{").json()["error"]["message"] == "The body is not JSON."
