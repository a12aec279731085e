"""The route and the edge over a small FastAPI server: what of a chat request reaches it, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from reasonprune.api.edge import Edge
from reasonprune.errors import ModelError
from reasonprune.graph.pipeline import PathsOverGraph
from reasonprune.graph.route import graph_router
from reasonprune.graph.service import GraphService
from reasonprune.options import Settings
from reasonprune.settings import validate

QUESTION = "who directed [Red Dunes]"
USER = {"role": "user", "content": QUESTION}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    pytest.importorskip("sentence_transformers")
    from reasonprune.sentence_encoder import shared_encoder

    try:
        shared_encoder()
    except ModelError as error:
        pytest.skip(f"the sentence encoder is not here: {error.message}")
    (tmp_path / "films.tsv").write_text("Red Dunes\tdirected_by\tAda Lang\nRed Dunes\tstarred_actors\tBen Ode\n")
    (tmp_path / "broken.tsv").write_text("no triple\n")
    stores = {name: {"path": str(tmp_path / f"{name}.tsv")} for name in ("films", "broken", "missing")}
    settings = validate(Settings, {"stores": stores}, "settings")
    app, graphs = FastAPI(), GraphService(settings.stores)
    app.include_router(graph_router(graphs, None))

    @app.post("/v1/chat/completions")
    @app.post("/v1/completions")
    async def echo(request: Request) -> Any:
        return {"got": await request.json(), "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}}

    app.add_middleware(Edge, settings=settings, served=lambda app: ["demo"], graphs=graphs)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")


def chat(store: str, *messages: Any, **options: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": list(messages), "reasonprune": {"graph": {"store": store, **options}}}


async def test_the_route(client: Any) -> None:
    answer = await client.post("/v1/graph/query", json={"question": QUESTION, "store": "films"})
    result = answer.json()
    assert answer.status_code == 200
    assert result["answers"][0]["name"] == "Ada Lang"
    assert result["account"].keys() >= {"paths_considered", "paths_kept", "llm_calls", "llm_tokens", "seconds"}


async def test_evidence_goes_before_the_last_question(client: Any) -> None:
    system, earlier = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}
    sent = chat("films", system, earlier, {"role": "assistant", "content": "Hi"}, USER, max_paths=1)
    answer = (await client.post("/v1/chat/completions", json=sent)).json()
    messages = answer["got"]["messages"]
    assert messages[:3] == sent["messages"][:3]
    assert messages[3]["content"].endswith(QUESTION)
    assert '1. {"Red Dunes"} -> directed by -> {"Ada Lang"}' in messages[3]["content"]
    assert "reasonprune" not in answer["got"]
    account = answer["reasonprune"]
    assert account["applied"] == ["graph"]
    assert (account["graph"]["store"], account["graph"]["paths_kept"]) == ("films", 1)


async def test_text_parts_and_what_is_no_text(client: Any) -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": QUESTION}]}
    answer = (await client.post("/v1/chat/completions", json=chat("films", parts))).json()
    assert answer["reasonprune"]["applied"] == ["graph"]
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    answer = (await client.post("/v1/chat/completions", json=chat("films", image))).json()
    assert "no user message with text" in answer["reasonprune"]["not_applied"][0]["reason"]
    assert answer["got"]["messages"] == [image]


@pytest.mark.parametrize(("store", "reason"), [("broken", "row 1"), ("missing", "cannot be read")])
async def test_a_graph_that_fails_is_skipped(client: Any, store: str, reason: str) -> None:
    answer = await client.post("/v1/chat/completions", json=chat(store, USER))
    assert answer.status_code == 200
    assert reason in answer.json()["reasonprune"]["not_applied"][0]["reason"]
    assert answer.json()["got"]["messages"] == [USER]
    direct = await client.post("/v1/graph/query", json={"question": QUESTION, "store": store})
    assert direct.status_code == 502
    assert reason in direct.json()["error"]["message"]


async def test_an_unexpected_failure_is_skipped_and_counted(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from reasonprune.metrics import METRICS

    async def fail(*arguments: Any) -> Any:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(PathsOverGraph, "answer", fail)
    before = METRICS.failures.labels("graph")._value.get()
    answer = (await client.post("/v1/chat/completions", json=chat("films", USER))).json()
    assert "out of luck" in answer["reasonprune"]["not_applied"][0]["reason"]
    assert METRICS.failures.labels("graph")._value.get() == before + 1


async def test_completions_have_no_messages(client: Any) -> None:
    body = {"model": "demo", "prompt": QUESTION, "reasonprune": {"graph": {"store": "films"}}}
    answer = (await client.post("/v1/completions", json=body)).json()
    assert "/v1/completions has none" in answer["reasonprune"]["not_applied"][0]["reason"]


@pytest.mark.parametrize(
    ("graph", "param"),
    [
        ({"store": "nope"}, "reasonprune.graph.store"),
        ({"store": "films", "max_path": 1}, "reasonprune.graph.max_path"),
        ({}, "reasonprune.graph.store"),
        ({"store": "films", "llm": True}, "graph.llm"),
    ],
)
async def test_what_the_client_can_mend_is_refused(client: Any, graph: dict[str, Any], param: str) -> None:
    body = {"model": "demo", "messages": [USER], "reasonprune": {"graph": graph}}
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
