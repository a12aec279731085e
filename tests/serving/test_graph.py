"""Knowledge graphs on a real server: the route, evidence in chat, and graphs that fail."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

QUESTION = "who directed [Red Dunes]"


@pytest.fixture(scope="module")
def graphs(server: Any) -> Any:
    """A client that waits until the encoder is loaded, once."""
    pytest.importorskip("sentence_transformers")
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=400) as client:
        yield client


def test_the_route(graphs: Any) -> None:
    answer = graphs.post("/v1/graph/query", json={"question": QUESTION, "store": "films", "max_paths": 2})
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert result["answers"][0]["name"] == "Ada Lang"
    assert result["paths"][0]["text"] == '{"Red Dunes"} -> directed by -> {"Ada Lang"}'
    assert result["paths"][0]["text"] in result["evidence"]
    assert len(result["paths"]) <= 2
    assert result["account"]["llm_calls"] == 0
    assert result["account"]["paths_considered"] > 0


def test_the_served_model_may_take_part(graphs: Any) -> None:
    answer = graphs.post("/v1/graph/query", json={"question": QUESTION, "store": "films", "llm": True, "llm_calls": 3})
    assert answer.status_code == 200, answer.text
    account = answer.json()["account"]
    assert 0 < account["llm_calls"] <= 3
    assert account["llm_tokens"] > account["llm_generated_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_evidence_in_chat(graphs: Any, body: dict[str, Any], stream: bool) -> None:
    asked = {**body, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 8, "temperature": 0}
    plain = graphs.post("/v1/chat/completions", json=asked).json()
    field = {"graph": {"store": "films", "max_paths": 3}}
    answer = graphs.post("/v1/chat/completions", json={**asked, "stream": stream, "reasonprune": field})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-reasonprune-applied"] == "graph"
    if stream:
        assert '"applied":["graph"]' in answer.text
        return
    account = answer.json()["reasonprune"]
    assert account["applied"] == ["graph"]
    assert account["graph"]["answers"][0] == "Ada Lang"
    assert account["graph"]["paths"][0] == '{"Red Dunes"} -> directed by -> {"Ada Lang"}'
    assert answer.json()["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"]


def test_evidence_and_parallel_traces_in_one_request(graphs: Any, body: dict[str, Any]) -> None:
    field = {"graph": {"store": "films"}, "parallel": {"policy": "self_consistency", "n": 2}}
    asked = {**body, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 8, "temperature": 1}
    account = graphs.post("/v1/chat/completions", json={**asked, "reasonprune": field}).json()["reasonprune"]
    assert account["applied"] == ["graph", "parallel"]


@pytest.mark.parametrize(
    ("store", "question", "reason"),
    [
        ("films", "what is 2 + 2", "names no entity"),
        ("gone", QUESTION, "cannot be reached"),
        ("broken", QUESTION, "row 1"),
    ],
)
def test_a_graph_that_does_not_help_is_named_and_skipped(
    graphs: Any, body: dict[str, Any], store: str, question: str, reason: str
) -> None:
    asked = {**body, "messages": [{"role": "user", "content": question}], "max_tokens": 8}
    answer = graphs.post("/v1/chat/completions", json={**asked, "reasonprune": {"graph": {"store": store}}})
    assert answer.status_code == 200, answer.text
    (skipped,) = answer.json()["reasonprune"]["not_applied"]
    assert skipped["technique"] == "graph"
    assert reason in skipped["reason"]
    assert answer.json()["choices"]


@pytest.mark.parametrize(
    ("body", "status", "param", "words"),
    [
        ({"question": "x", "store": "nope"}, 400, "reasonprune.graph.store", "films"),
        ({"question": "x", "store": "films", "max_path": 3}, 400, "graph.max_path", "not known"),
        ({"question": "x", "store": "films", "max_paths": 0}, 400, "graph.max_paths", "greater than or equal to 1"),
        ({"question": "x", "store": "films", "topics": ["Blue"]}, 400, "graph.topics", "no entity 'Blue'"),
        ({"store": "films"}, 400, "question", "string"),
        ({"question": " ", "store": "films"}, 400, "question", "empty"),
        ({"question": "x"}, 400, "graph.store", "required"),
        ({"question": QUESTION, "store": "gone"}, 502, None, "cannot be reached"),
        ([], 400, None, "object"),
    ],
)
def test_bad_queries(graphs: Any, body: Any, status: int, param: str | None, words: str) -> None:
    answer = graphs.post("/v1/graph/query", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert words in error["message"]


def test_chat_with_an_unknown_graph_is_refused(graphs: Any, body: dict[str, Any]) -> None:
    answer = graphs.post("/v1/chat/completions", json={**body, "reasonprune": {"graph": {"store": "nope"}}})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "reasonprune.graph.store"


def test_the_route_needs_the_key(server: Any) -> None:
    assert httpx.post(server.url + "/v1/graph/query", json={"question": "x", "store": "films"}).status_code == 401
