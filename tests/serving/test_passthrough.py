"""Without our field the server answers as plain vLLM does, field by field and chunk by chunk."""

from __future__ import annotations

import json
from typing import Any

import pytest

MESSAGES = [{"role": "user", "content": "Start with 12, add 30, multiply by 4. What do you get?"}]
CHAT = {"model": "tiny", "messages": MESSAGES, "max_tokens": 120, "temperature": 0}
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]},
        "strict": True,
    },
}
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer", "maximum": 9}}, "required": ["x"]}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", CHAT),
    "chat with logprobs": ("/v1/chat/completions", CHAT | {"logprobs": True, "top_logprobs": 3}),
    "chat with usage": ("/v1/chat/completions", CHAT | {"stream_options": {"include_usage": True}, "stream": True}),
    "chat stream": ("/v1/chat/completions", CHAT | {"stream": True}),
    "chat of two choices": ("/v1/chat/completions", CHAT | {"n": 2}),
    "seeded": ("/v1/chat/completions", CHAT | {"temperature": 1, "seed": 7}),
    "tool": ("/v1/chat/completions", CHAT | {"tools": [TOOL], "tool_choice": "required", "max_tokens": 60}),
    "schema": (
        "/v1/chat/completions",
        CHAT | {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
    ),
    "completion": ("/v1/completions", {"model": "tiny", "prompt": "12+30=", "max_tokens": 8, "temperature": 0}),
    "completion echo": (
        "/v1/completions",
        {"model": "tiny", "prompt": ["1+1=", "2+2="], "max_tokens": 4, "temperature": 0, "echo": True, "logprobs": 1},
    ),
    "responses": ("/v1/responses", {"model": "tiny", "input": "1+1", "max_output_tokens": 16, "temperature": 0}),
    "tokenize": ("/tokenize", {"model": "tiny", "prompt": "12+30="}),
    "unknown model": ("/v1/chat/completions", CHAT | {"model": "nope"}),
    "unknown model with preset": ("/v1/chat/completions", CHAT | {"model": "nope@vote"}),
    "too long": ("/v1/chat/completions", CHAT | {"max_tokens": 5000}),
    "not an object": ("/v1/chat/completions", {"model": "tiny", "messages": "hello"}),
}
CHANGING = {"id", "created", "created_at", "system_fingerprint", "request_id", "completed_at"}


def without_changing(value: Any) -> Any:
    """A response without what differs between two runs of plain vLLM: ids and times."""
    if isinstance(value, dict):
        return {k: without_changing(v) for k, v in value.items() if k not in CHANGING}
    if isinstance(value, list):
        return [without_changing(v) for v in value]
    if isinstance(value, str) and value.startswith(("msg_", "chatcmpl-tool-", "rs_")):
        return "id"
    return value


def events(text: str) -> list[Any]:
    """Server-sent events as JSON, the text of all deltas last: vLLM cuts the same text into chunks by timing."""
    found: list[Any] = []
    written = ""
    for event in text.split("\n\n"):
        if not event.startswith("data: ") or event == "data: [DONE]":
            found += [event] if event else []
            continue
        chunk = without_changing(json.loads(event.removeprefix("data: ")))
        for choice in chunk["choices"]:
            written += choice["delta"].pop("content", None) or ""
        if not chunk["choices"] or chunk["choices"][0]["delta"] or chunk["choices"][0]["finish_reason"]:
            found.append(chunk)
    return [*found, written]


@pytest.mark.parametrize("name", REQUESTS)
def test_answers_as_plain_vllm(server: Any, plain: Any, name: str) -> None:
    path, body = REQUESTS[name]
    with server.client() as one, plain.client() as two:
        ours, theirs = one.post(path, json=body), two.post(path, json=body)
    assert ours.status_code == theirs.status_code
    headers = [{k for k in answer.headers if k not in ("date", "content-length")} for answer in (ours, theirs)]
    assert headers[0] == headers[1]
    if body.get("stream"):
        assert events(ours.text) == events(theirs.text)
    else:
        assert without_changing(ours.json()) == without_changing(theirs.json())


def test_a_broken_body_gets_vllms_own_error(server: Any, plain: Any) -> None:
    request = {"content": b"{not json", "headers": {"content-type": "application/json"}}
    with server.client() as one, plain.client() as two:
        ours, theirs = (client.post("/v1/chat/completions", **request) for client in (one, two))
    assert (ours.status_code, ours.json()) == (theirs.status_code, theirs.json())


def test_every_route_of_vllm_is_there(server: Any, plain: Any) -> None:
    with server.client() as one, plain.client() as two:
        ours, theirs = (client.get("/openapi.json").json()["paths"] for client in (one, two))
    assert theirs.keys() <= ours.keys()


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions"])
def test_the_api_key_is_checked_first(server: Any, path: str) -> None:
    """Also before our own validation: a stranger learns nothing of our settings."""
    import httpx

    bad = {"model": "tiny", "messages": MESSAGES, "reasonprune": {"no": "such key"}}
    answer = httpx.post(server.url + path, json=bad) if "chat" in path else httpx.get(server.url + path)
    assert answer.status_code == 401
    assert "reasonprune" not in answer.text
