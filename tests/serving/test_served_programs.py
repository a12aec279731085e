"""Layer programs over HTTP: what is run, what is refused, what is told."""

from __future__ import annotations

from typing import Any

import pytest
from server_process import Server

LEAN = "0-1,3-5"


def ask(server: Server, body: dict[str, Any], **field: Any) -> Any:
    with server.client() as client:
        return client.post("/v1/chat/completions", json={**body, "temperature": 0, "reasonprune": field})


@pytest.mark.parametrize(("program", "layers"), [(LEAN, 5), ("0-2,2,3-5", 7), ("lean", 5), ("full", 6)])
def test_a_program_is_run_and_told(server: Server, body: dict[str, Any], program: str, layers: int) -> None:
    answer = ask(server, body | {"max_tokens": 40}, depth={"program": program})
    assert answer.status_code == 200
    account = answer.json()["reasonprune"]
    assert account["applied"] == ["depth"]
    assert answer.headers["x-reasonprune-applied"] == "depth"
    assert account["depth"]["model_layers"] == 6
    assert account["depth"]["programs"][0]["layers"] == layers
    assert account["tokens"]["generated"] == answer.json()["usage"]["completion_tokens"]


def test_fewer_layers_say_something_else_and_full_depth_stays_as_it_is(server: Server, body: dict[str, Any]) -> None:
    texts = [
        ask(server, body, **field).json()["choices"][0]["message"]["content"]
        for field in ({}, {"depth": {"program": LEAN}}, {"depth": {"program": "0-5"}}, {"depth": {"program": LEAN}})
    ]
    assert texts[0] == texts[2]
    assert texts[1] == texts[3]
    assert texts[0] != texts[1]


def test_a_stream_is_accounted_for(server: Server, body: dict[str, Any]) -> None:
    field = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 20}
    answer = ask(server, body | field, depth={"program": LEAN})
    assert answer.headers["x-reasonprune-applied"] == "depth"
    assert f'"program":"{LEAN}"' in answer.text


@pytest.mark.parametrize(
    ("depth", "param", "words"),
    [
        ({"program": "0-6"}, "reasonprune.depth.program", "names layer 6, but the model has 6 layers, 0 to 5"),
        ({"program": "0-5,0-5"}, "reasonprune.depth.program", "--reasonprune.server.depth_slots 6"),
        ({"program": ""}, "reasonprune.depth.program", "at least one layer"),
        ({"program": "5-0"}, "reasonprune.depth.program", "write 5,4,3,2,1,0"),
        ({"program": "leen"}, "reasonprune.depth.program", "Did you mean 'lean'?"),
        ({"program": 3}, "reasonprune.depth.program", "valid string"),
        ({"layers": "0-3"}, "reasonprune.depth.layers", "Keys of reasonprune.depth: program, traces"),
        ({"traces": [LEAN]}, "reasonprune.depth.traces", "this request has none"),
    ],
)
def test_what_is_wrong_is_named(server: Server, body: dict[str, Any], depth: Any, param: str, words: str) -> None:
    answer = ask(server, body, depth=depth)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert words in error["message"]


def test_auto_without_a_router_is_full_depth_and_told(server: Server, body: dict[str, Any]) -> None:
    account = ask(server, body | {"max_tokens": 5}, depth={}).json()["reasonprune"]
    assert account["applied"] == []
    assert account["not_applied"][0]["technique"] == "depth"
    assert "train router" in account["not_applied"][0]["reason"]


def test_parallel_traces_each_with_a_program(server: Server, body: dict[str, Any]) -> None:
    field = {
        "parallel": {"policy": "self_consistency", "n": 4, "temperature": 0.7},
        "depth": {"traces": ["full", LEAN]},
    }
    account = ask(server, body | {"max_tokens": 60}, **field).json()["reasonprune"]
    assert account["applied"] == ["parallel", "depth"]
    assert [entry["program"] for entry in account["depth"]["programs"]] == ["0-5", LEAN]
    assert account["parallel"]["started"] == 4
    assert server.wait_idle()


@pytest.mark.parametrize("policy", ["deepprune", "parallel_probe", "consensus"])
def test_policies_on_fewer_layers(server: Server, body: dict[str, Any], policy: str) -> None:
    field = {"parallel": {"policy": policy, "n": 4, "temperature": 0.7}, "depth": {"program": "0-2,2,3-5"}}
    account = ask(server, body, **field).json()["reasonprune"]
    assert account["applied"] == ["parallel", "depth"]
    assert account["not_applied"] == []


def test_a_client_cannot_put_a_program_past_the_checks(server: Server, body: dict[str, Any]) -> None:
    smuggled = body | {"temperature": 0, "vllm_xargs": {"reasonprune_layers": LEAN}}
    with server.client() as client:
        answer = client.post("/v1/chat/completions", json=smuggled).json()
        plain = client.post("/v1/chat/completions", json=body | {"temperature": 0}).json()
    assert answer["choices"][0]["message"] == plain["choices"][0]["message"]
