"""A server's likeliest replies; and servers that give none, or nothing: faults that our own server does not show."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from reasonprune.engine.upstream import Upstream
from reasonprune.errors import ModelError, UnsupportedError
from reasonprune.judges import Snapshot
from reasonprune.selfeval.upstream import UpstreamEvaluator, replies_of

pytest.importorskip("httpx", reason="httpx is not installed; pip install 'reasonprune[upstream]'")


class Server(HTTPServer):
    answer: tuple[int, Any] = (200, {})
    asked: dict[str, Any]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        server.asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, body = server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


async def evaluate(server: Server) -> Any:
    async with Upstream(f"http://127.0.0.1:{server.server_port}", "m") as upstream:
        evaluator = UpstreamEvaluator(upstream, [{"role": "user", "content": "2 + 2?"}])
        return await evaluator.evaluate([Snapshot(0, 0, "It is 4.", "2 + 2?")])


def reply(**likeliest: float) -> tuple[int, Any]:
    rows = [{"token": token, "logprob": value} for token, value in likeliest.items()]
    choice = {"message": {"content": "No"}, "logprobs": {"content": [{"top_logprobs": rows}]}}
    usage = {"prompt_tokens": 30, "prompt_tokens_details": {"cached_tokens": 16}}
    return 200, {"choices": [choice], "usage": usage}


def test_the_likelier_spelling_counts() -> None:
    found = replies_of({"Yes": math.log(0.1), " No": math.log(0.3), "No": math.log(0.2)}, 7)
    assert found is not None
    assert (found.content, found.prompted) == (pytest.approx(0.75), 7)


def test_a_reply_that_is_not_named_is_no_likelier_than_the_last_that_is() -> None:
    found = replies_of({"No": math.log(0.6), "Well": math.log(0.2)}, 7)
    assert found is not None
    assert found.content == pytest.approx(0.75)
    assert replies_of({"Well": math.log(0.6)}, 7) is None


async def test_the_turn_follows_the_answer_and_its_cost_is_counted(server: Server) -> None:
    server.answer = reply(Yes=math.log(0.2), No=math.log(0.6))
    evaluation = await evaluate(server)
    assert evaluation.scores[0].value == pytest.approx(0.75)
    assert (evaluation.generated, evaluation.prompted) == (1, 14)
    assert [message["role"] for message in server.asked["messages"]] == ["user", "assistant", "user"]
    assert (server.asked["model"], server.asked["max_tokens"], server.asked["logprobs"]) == ("m", 1, True)


async def test_neither_reply_is_no_score(server: Server) -> None:
    server.answer = reply(Maybe=-0.1)
    assert (await evaluate(server)).scores == [None]


async def test_a_server_without_log_probabilities(server: Server) -> None:
    server.answer = 200, {"choices": [{"message": {"content": "No"}, "logprobs": None}]}
    with pytest.raises(UnsupportedError, match="gives no log-probabilities of its replies"):
        await evaluate(server)


@pytest.mark.parametrize("answer", [(404, {"error": "no such model"}), (200, [1])])
async def test_a_server_that_fails(server: Server, answer: tuple[int, Any]) -> None:
    server.answer = answer
    with pytest.raises(ModelError, match="answers /chat/completions with"):
        await evaluate(server)
