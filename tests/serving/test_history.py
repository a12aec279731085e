"""Reasoning of earlier turns over HTTP: shortened before prefill, named in the account, stable; and `/v1/compress`."""

from __future__ import annotations

from typing import Any

import pytest

from reasonprune.cot.files import CompressConfig, compress_file

QUESTION = "Start with 37, add 53, multiply by 7, subtract 277. What do you get?"
CHAIN = "37+53=90.\n\nWait, let me check.\n\n37+53=90.\n\n90*7=630.\n\n630-277=353.\n\nIt is the same."
TURNS = [
    {"role": "user", "content": QUESTION},
    {"role": "assistant", "content": f"<think>\n{CHAIN}\n</think>\n\nThe answer is \\boxed{{353}}."},
    {"role": "user", "content": "Start with 2, add 3. What do you get?"},
]


def ask(server: Any, messages: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    body = {"model": "tiny", "messages": messages, "max_tokens": 60, "temperature": 0, **more}
    with server.client() as client:
        answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_earlier_reasoning_is_shortened_before_prefill(server: Any) -> None:
    plain = ask(server, TURNS)
    short = ask(server, TURNS, reasonprune={"history": {"budget": 0.6}})
    account = short["reasonprune"]
    saved = plain["usage"]["prompt_tokens"] - short["usage"]["prompt_tokens"]
    assert account["applied"] == ["history"]
    assert account["history"]["prompt_tokens_saved"] == saved > 0
    (turn,) = account["history"]["turns"]
    assert turn["message"] == 1
    assert short["choices"][0]["message"]["content"]
    assert short["choices"][0].get("logprobs") is None


def test_what_the_server_said_itself_is_scored_for_free_and_stays_the_same(server: Any) -> None:
    messages, options = TURNS[:1], {"history": {"budget": 0.5}}
    prompts = []
    for _ in range(3):
        answer = ask(server, messages, reasonprune=options, max_tokens=400)
        prompts.append(answer["usage"]["prompt_tokens"])
        said = answer["choices"][0]["message"]["content"]
        messages = [*messages, {"role": "assistant", "content": said}, TURNS[2]]
    turns = answer["reasonprune"]["history"]["turns"]
    assert [turn["scored_by"] for turn in turns] == ["recorded", "recorded"]
    assert [turn["decided"] for turn in turns] == ["earlier", "now"]


def test_streams_are_shortened_too(server: Any) -> None:
    with server.openai() as client:
        chunks = list(
            client.chat.completions.create(
                model="tiny",
                messages=TURNS,
                max_tokens=40,
                stream=True,
                extra_body={"reasonprune": {"history": {"budget": 0.6}}},
            )
        )
    assert chunks[-1].model_extra["reasonprune"]["applied"] == ["history"]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (TURNS[:1], "no earlier turn holds marked reasoning"),
        (
            [*TURNS[:1], {"role": "assistant", "content": "<think>\nOne.\n</think>\n\n5"}, TURNS[2]],
            "nothing could be left",
        ),
    ],
)
def test_what_was_not_done_says_why(server: Any, messages: list[dict[str, str]], reason: str) -> None:
    account = ask(server, messages, reasonprune={"history": {}})["reasonprune"]
    assert account["applied"] == []
    (skipped,) = account["not_applied"]
    assert skipped["technique"] == "history"
    assert reason in skipped["reason"]


def test_completions_have_no_turns(server: Any) -> None:
    body = {"model": "tiny", "prompt": "1+1=", "max_tokens": 4, "reasonprune": {"history": {"budget": 0.5}}}
    with server.client() as client:
        account = client.post("/v1/completions", json=body).json()["reasonprune"]
    assert "no messages" in account["not_applied"][0]["reason"]


@pytest.mark.parametrize(
    ("history", "param"),
    [
        ({"budget": 0}, "reasonprune.history.budget"),
        ({"budget": 1.5}, "reasonprune.history"),
        ({"budgt": 0.5}, "reasonprune.history.budgt"),
        (3, "reasonprune.history"),
    ],
)
def test_wrong_settings_are_named(server: Any, history: Any, param: str) -> None:
    with server.client() as client:
        answer = client.post(
            "/v1/chat/completions", json={"model": "tiny", "messages": TURNS, "reasonprune": {"history": history}}
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def compress(server: Any, **body: Any) -> Any:
    with server.client() as client:
        return client.post("/v1/compress", json=body)


def test_compress_a_chain(server: Any) -> None:
    answer = compress(server, model="tiny", question=QUESTION, reasoning=CHAIN, answer="353", budget=0.7)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["reasoning"].startswith("37+53=90.")
    assert body["reasoning"].endswith("It is the same.")
    assert body["tokens"]["after"] <= 0.7 * body["tokens"]["before"]
    assert all(step["score"] is not None for step in body["removed"])
    assert body["scored_by"] == "engine"


def test_compress_a_chat(server: Any) -> None:
    body = compress(server, messages=TURNS, budget=0.6).json()
    assert len(body["messages"]) == 3
    assert body["prompt_tokens_saved"] > 0


@pytest.mark.parametrize(
    ("body", "status", "param", "words"),
    [
        ({}, 400, "reasoning", "Send reasoning"),
        ({"reasoning": " "}, 400, "reasoning", "empty"),
        ({"reasoning": CHAIN, "budget": -1}, 400, "body.budget", "greater than 0"),
        ({"reasoning": CHAIN, "budget": 2.5}, 400, "budget", "whole number"),
        ({"reasoning": CHAIN, "bugdet": 1}, 400, "body.bugdet", "Did you mean 'budget'"),
        ({"reasoning": CHAIN, "logprobs": [-1.0]}, 400, "logprobs", "both or neither"),
        ({"reasoning": CHAIN, "tokens": ["x"], "logprobs": [-1.0]}, 400, None, "do not spell"),
        (
            {"reasoning": CHAIN, "token_ids": [1], "logprobs": [-1.0], "tokenizer": "ab"},
            400,
            None,
            "recorded by the tokenizer ab",
        ),
        ({"reasoning": CHAIN, "model": "nope"}, 400, "model", "Served: tiny"),
        ({"messages": TURNS, "method": "random"}, 400, "method", "only with reasoning"),
    ],
)
def test_compress_refuses_with_field_and_remedy(
    server: Any, body: dict[str, Any], status: int, param: str | None, words: str
) -> None:
    answer = compress(server, **body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param
    assert words in answer.json()["error"]["message"]


def test_compress_needs_the_key(server: Any) -> None:
    import httpx

    assert httpx.post(server.url + "/v1/compress", json={"reasoning": CHAIN}).status_code == 401


def test_a_bad_body(server: Any) -> None:
    with server.client() as client:
        answer = client.post("/v1/compress", content=b"{not json", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "not JSON" in answer.json()["error"]["message"]


def test_a_server_scores_a_data_set_over_http(server: Any, tmp_path: Any) -> None:
    import json

    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"question": QUESTION, "reasoning": CHAIN, "answer": "353"}, {"messages": TURNS}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    upstream = (server.url, None, "sk-test")
    compress_file(file, out, CompressConfig(0.7), None, upstream, 2, lambda done, total: None)
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert first["reasonprune"]["chains"][0]["scored_by"] == "upstream"
    assert first["reasoning"].count("37+53=90.") == 1
    assert len(second["messages"][1]["content"]) < len(TURNS[1]["content"])
