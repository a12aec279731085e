"""A server without log-probabilities, or none at all: faults that our own server does not show."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from reasonprune.cot.upstream import UpstreamBackend
from reasonprune.errors import ModelError, ScoreError

pytest.importorskip("httpx", reason="httpx is not installed; pip install 'reasonprune[upstream]'")


class Server(HTTPServer):
    answers: tuple[int, Any] = (200, {})


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, body = self.server.answers  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

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


async def score(server: Server) -> Any:
    async with UpstreamBackend(f"http://127.0.0.1:{server.server_port}/v1", "m") as backend:
        return await backend.score([{"role": "user", "content": "q"}], "", "Add it.")


def completion(logprobs: Any) -> tuple[int, Any]:
    return 200, {"choices": [{"text": "", "logprobs": logprobs}]}


async def test_scores_of_the_chain_alone(server: Server) -> None:
    tokens = ["q", "\n\n", "Add", " it", ".", "x"]
    server.answers = completion({"tokens": tokens, "token_logprobs": [None, -1, -2, -3, -4, -5]})
    scores = await score(server)
    assert (scores.starts, scores.logprobs, scores.source) == ((0, 3, 6), (-2, -3, -4), "upstream")


@pytest.mark.parametrize("logprobs", [None, {}, {"tokens": ["x"], "token_logprobs": [-1]}])
async def test_an_upstream_without_log_probabilities_of_its_prompt(server: Server, logprobs: Any) -> None:
    server.answers = completion(logprobs)
    with pytest.raises(ScoreError, match="returns no log-probabilities of its prompt"):
        await score(server)


@pytest.mark.parametrize("answer", [(500, b"broken"), (200, b"no json")])
async def test_an_upstream_that_fails(server: Server, answer: tuple[int, bytes]) -> None:
    server.answers = answer
    with pytest.raises(ModelError, match="answers /completions with"):
        await score(server)


async def test_an_upstream_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="does not answer"):
        async with UpstreamBackend("http://127.0.0.1:9", None):
            pass
