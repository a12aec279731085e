"""What cannot be served is refused with the field and the remedy, and never reaches the engine."""

from __future__ import annotations

from typing import Any

import pytest

CASES: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "unknown key": ({"reasonprune": {"effrt": "low"}}, 400, "reasonprune.effrt", "Did you mean 'effort'"),
    "unknown key of a policy": (
        {"reasonprune": {"parallel": {"policy": "esc", "windw": 3}}},
        400,
        "reasonprune.parallel.windw",
        "Did you mean 'window'",
    ),
    "wrong type": ({"reasonprune": {"parallel": {"n": "8"}}}, 400, "reasonprune.parallel.n", "integer"),
    "not an object": ({"reasonprune": 3}, 400, "reasonprune", "object"),
    "n of zero": ({"reasonprune": {"parallel": {"n": 0}}}, 400, "reasonprune.parallel.n", "greater than or equal to 1"),
    "n over the limit": ({"reasonprune": {"parallel": {"n": 33}}}, 400, "reasonprune.parallel.n", "at most 32"),
    "no such policy": (
        {"reasonprune": {"parallel": {"policy": "magic"}}},
        400,
        "reasonprune.parallel.policy",
        "self_consistency",
    ),
    "no such effort": ({"reasonprune": {"effort": "huge"}}, 400, "reasonprune.effort", "'low'"),
    "threshold out of range": (
        {"reasonprune": {"parallel": {"threshold": 1.5}}},
        400,
        "reasonprune.parallel.threshold",
        "less than 1",
    ),
    "n in conflict": ({"n": 5, "reasonprune": {"parallel": {"n": 4}}}, 400, "n", "Lower n or raise"),
    "beam search": (
        {"use_beam_search": True, "reasonprune": {"parallel": {"n": 4}}},
        400,
        "use_beam_search",
        "drop one of them",
    ),
    "no such preset": ({"model": "tiny@nope"}, 404, "model", "Presets of this server: quick, vote"),
    "no such model": ({"model": "nope", "reasonprune": {"effort": "low"}}, 404, "model", "does not exist"),
    "context too long": ({"max_tokens": 9000, "reasonprune": {"effort": "low"}}, 400, "max_tokens", "1024"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stream", [False, True])
def test_refused_with_field_and_remedy(server: Any, body: dict[str, Any], name: str, stream: bool) -> None:
    change, status, param, remedy = CASES[name]
    before = server.metric("vllm:prompt_tokens_total")
    with server.client() as client:
        answer = client.post("/v1/chat/completions", json={**body, "stream": stream, **change})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert remedy in error["message"]
    assert error["code"] == status
    assert server.metric("vllm:prompt_tokens_total") == before


def test_several_prompts_are_refused(server: Any) -> None:
    body = {"model": "tiny", "prompt": ["1+1=", "2+2="], "reasonprune": {"parallel": {"n": 4}}}
    with server.client() as client:
        answer = client.post("/v1/completions", json=body)
    assert answer.status_code == 400
    assert "one prompt a request" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1/embeddings"])
def test_the_field_is_not_ignored_where_it_has_no_effect(server: Any, path: str) -> None:
    with server.client() as client:
        answer = client.post(path, json={"model": "tiny", "input": "1+1", "reasonprune": {"effort": "low"}})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "reasonprune"


def test_the_openai_sdk_raises_its_own_errors(server: Any, body: dict[str, Any]) -> None:
    from openai import BadRequestError, NotFoundError

    with server.openai() as client:
        with pytest.raises(BadRequestError, match="Did you mean"):
            client.chat.completions.create(**body, extra_body={"reasonprune": {"paralel": {}}})
        with pytest.raises(NotFoundError, match="preset"):
            client.chat.completions.create(**(body | {"model": "tiny@nope"}))
