"""`/v1/compress` and `history` in the HTTP layer; real engines are in tests/engine and tests/serving."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="FastAPI comes with vLLM, which is not installed; run `make setup`")
httpx = pytest.importorskip("httpx", reason="httpx is not installed; pip install 'reasonprune[upstream]'")

from fastapi import FastAPI, Request

from reasonprune.api.compress import attach
from reasonprune.api.edge import Edge
from reasonprune.cot.backends import NoBackend
from reasonprune.cot.history import History
from reasonprune.cot.scores import TokenScores
from reasonprune.errors import ScoreError
from reasonprune.options import Settings

CHAIN = "Add two.\n\nHm well.\n\nWait there.\n\nSo it is 5."
TURNS = [
    {"role": "user", "content": "3+2?"},
    {"role": "assistant", "content": f"<think>\n{CHAIN}\n</think>\n\nIt is 5."},
    {"role": "user", "content": "And 3+4?"},
]


class Words:
    """A tokenizer of words, as far as templates go."""

    def apply_chat_template(self, rows: Sequence[dict[str, Any]], **_: Any) -> dict[str, list[str]]:
        return {"input_ids": " ".join(str(row["content"]) for row in rows).split()}


class Scripted(NoBackend):
    """Tokens are words; the surprisal of a step is the length of its first word."""

    fails: Exception | None = None

    async def score(self, messages: Any, opening: str, text: str) -> TokenScores:
        if self.fails:
            raise self.fails
        words = list(re.finditer(r"\S+", text))
        return TokenScores(tuple(w.start() for w in words), tuple(-float(len(w[0])) for w in words), "engine")

    async def write(self, messages: Any, max_tokens: int, temperature: float) -> str:
        return "Nothing of the kind."

    async def answer(self, messages: Any, text: str) -> str | None:
        return "5" if "Wait" in text else "6"

    async def tokenizer(self) -> Any:
        return Words()


class Client:
    """An app with our route and middleware; `received` is what vLLM's own route would have got."""

    def __init__(self) -> None:
        self.backend = Scripted()
        self.received: dict[str, Any] = {}
        app = FastAPI()
        app.state.reasonprune_backend = self.backend
        app.state.reasonprune_history = History(self.backend)
        attach(app, lambda app: ["tiny"])

        async def chat(request: Request) -> dict[str, Any]:
            self.received = await request.json()
            return {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}

        app.add_api_route("/v1/chat/completions", chat, methods=["POST"])
        app.add_api_route("/v1/completions", chat, methods=["POST"])
        app.add_middleware(Edge, settings=Settings(), served=lambda app: ["tiny"])
        self._transport = httpx.ASGITransport(app=app)

    async def post(self, path: str, body: Any, **more: Any) -> Any:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://test") as client:
            return await client.post(path, **({"json": body} if body is not None else {}), **more)

    async def chat(
        self, messages: Any, history: Any, path: str = "/v1/chat/completions", **more: Any
    ) -> dict[str, Any]:
        body = {"model": "tiny", "messages": messages, "reasonprune": {"history": history}, **more}
        answer = await self.post(path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()["reasonprune"]


@pytest.fixture
def client() -> Client:
    return Client()


async def test_earlier_reasoning_is_shortened_and_accounted_for(client: Client) -> None:
    account = await client.chat(TURNS, {"budget": 0.8})
    assert client.received["messages"][1]["content"] == (
        "<think>\nAdd two.\n\nWait there.\n\nSo it is 5.\n</think>\n\nIt is 5."
    )
    assert [client.received["messages"][i] for i in (0, 2)] == [TURNS[0], TURNS[2]]
    assert account["applied"] == ["history"]
    assert account["history"]["prompt_tokens_saved"] == 2
    assert account["history"]["turns"][0]["tokens"] == {"before": 10, "after": 8}
    again = await client.chat([*TURNS, {"role": "assistant", "content": "It is 7."}, TURNS[0]], {"budget": 0.8})
    assert again["history"]["turns"][0]["decided"] == "earlier"


async def test_a_turn_that_is_to_be_continued_is_not_an_earlier_one(client: Client) -> None:
    account = await client.chat(TURNS[:2], {}, continue_final_message=True, add_generation_prompt=False)
    assert client.received["messages"] == TURNS[:2]
    assert "no earlier turn" in account["not_applied"][0]["reason"]


@pytest.mark.parametrize("error", [ScoreError("no log-probabilities"), RuntimeError("boom")])
async def test_what_fails_leaves_the_request_as_it_is(client: Client, error: Exception) -> None:
    client.backend.fails = error
    account = await client.chat(TURNS, {})
    assert client.received["messages"] == TURNS
    assert account["applied"] == []
    (skipped,) = account["not_applied"]
    assert skipped["technique"] == "history"
    assert str(error) in skipped["reason"]


async def test_a_template_that_drops_reasoning_leaves_nothing_to_do(client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(Words, "apply_chat_template", lambda self, rows, **_: {"input_ids": [0] * len(rows)})
    account = await client.chat(TURNS, {})
    assert client.received["messages"] == TURNS
    assert "template leaves earlier reasoning out" in account["not_applied"][0]["reason"]


async def test_completions_have_no_turns(client: Client) -> None:
    account = await client.chat(None, {}, "/v1/completions", prompt="1+1=")
    assert "no messages" in account["not_applied"][0]["reason"]


async def test_compress_a_chain(client: Client) -> None:
    answer = await client.post("/v1/compress", {"reasoning": CHAIN, "question": "3+2?", "budget": 0.8})
    body = answer.json()
    assert (answer.status_code, body["reasoning"]) == (200, "Add two.\n\nWait there.\n\nSo it is 5.")
    assert body["removed"] == [{"step": 1, "text": "Hm well.", "tokens": 2, "score": 2.0, "on_route": False}]
    assert body["tokens"] == {"before": 10, "after": 8, "budget": 8}


async def test_compress_a_chat(client: Client) -> None:
    body = (await client.post("/v1/compress", {"messages": TURNS, "budget": 0.8})).json()
    assert body["prompt_tokens_saved"] == 2
    assert body["turns"][0]["message"] == 1


async def test_compress_with_recorded_tokens(client: Client) -> None:
    client.backend.fails = AssertionError("nothing is to be scored")
    tokens = re.findall(r"\S+\s*", CHAIN)
    recorded = {"tokens": tokens, "logprobs": [-1.0 * len(token) for token in tokens]}
    body = (await client.post("/v1/compress", {"reasoning": CHAIN, "budget": 0.8, **recorded})).json()
    assert body["scored_by"] == "recorded"


async def test_what_a_stage_could_not_do_is_named(client: Client) -> None:
    asked = {"reasoning": CHAIN, "answer": "5", "budget": 0.6, "gate": True, "anchor": "llm"}
    body = (await client.post("/v1/compress", asked)).json()
    assert [skipped["technique"] for skipped in body["not_applied"]] == ["anchor.llm", "compression"]
    assert body["reasoning"] == CHAIN
    assert body["kept"] == 1


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "reasoning", "Send reasoning"),
        ([], None, "must be an object"),
        ({"reasoning": " "}, "reasoning", "empty"),
        ({"reasoning": CHAIN, "budget": -1}, "body.budget", "greater than 0"),
        ({"reasoning": CHAIN, "budget": 2.5}, "budget", "whole number"),
        ({"reasoning": CHAIN, "bugdet": 1}, "body.bugdet", "Did you mean 'budget'"),
        ({"reasoning": CHAIN, "logprobs": [-1.0]}, "logprobs", "both or neither"),
        ({"reasoning": CHAIN, "tokens": ["x"], "logprobs": [-1.0]}, None, "do not spell"),
        ({"reasoning": CHAIN, "model": "nope"}, "model", "Served: tiny"),
        ({"messages": TURNS, "method": "random"}, "method", "only with reasoning"),
        ({"messages": TURNS, "budget": 1.5}, "budget", "whole number"),
    ],
)
async def test_compress_refuses_with_field_and_remedy(client: Client, body: Any, param: str | None, words: str) -> None:
    answer = await client.post("/v1/compress", body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert words in answer.json()["error"]["message"]


async def test_a_body_that_is_no_json(client: Client) -> None:
    answer = await client.post("/v1/compress", None, content=b"{not")
    assert "not JSON" in answer.json()["error"]["message"]
