import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from reasonprune.api.edge import KEEP_ALIVE, Edge
from reasonprune.context import current_request
from reasonprune.errors import EngineError
from reasonprune.options import Settings

CHAT = "/v1/chat/completions"
JSON = [(b"content-type", b"application/json"), (b"content-length", b"2"), (b"x-theirs", b"1")]
SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
ASKED = {"model": "demo", "reasonprune": {"parallel": {"n": 2}}}
LAST = b'data: {"choices":[{"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}\n\n'
DONE = b"data: [DONE]\n\n"


@dataclass
class App:
    """A tiny server: notes what it gets and sends `parts`; an awaitable part is awaited, an error raised."""

    parts: list[Any] = field(default_factory=lambda: [b"{}"])
    headers: list[tuple[bytes, bytes]] = field(default_factory=lambda: JSON)
    status: int = 200
    body: bytes | None = None
    scope: Any = None
    options: Any = None

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        self.scope, self.body = scope, b""
        if scope["type"] != "http":
            return
        more = True
        while more:
            message = await receive()
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        if context := current_request.get():
            self.options = context.options
            context.account.generated = 30
        started = False
        for i, part in enumerate(self.parts):
            if isinstance(part, Exception):
                raise part
            if callable(part):
                await part()
                continue
            if not started:
                await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
                started = True
            more = i + 1 < len(self.parts)
            await send({"type": "http.response.body", "body": part, "more_body": more})


@dataclass
class Answer:
    messages: list[Any]

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(m["body"] for m in self.messages[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: App,
    body: Any,
    path: str = CHAT,
    edge: Edge | None = None,
    pieces: int = 1,
    left: bool = False,
    **settings: Any,
) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = max(1, -(-len(raw) // pieces))
    parts = [raw[i : i + size] for i in range(0, len(raw), size)] or [b""]
    incoming = [{"type": "http.request", "body": p, "more_body": i + 1 < len(parts)} for i, p in enumerate(parts)]
    if left:
        incoming[-1] = {"type": "http.disconnect"}
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    edge = edge or Edge(app, Settings.model_validate(settings), lambda app: ["demo"])
    headers = [(b"Content-Length", str(len(raw)).encode()), (b"authorization", b"secret")]
    scope = {"type": "http", "method": "POST", "path": path, "root_path": "", "headers": headers, "app": None}
    await edge(scope, receive, send)
    return Answer(sent)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, b' {"model" : "demo", "messages": [ ]} '),
        (CHAT, b'{"model": "reasonprune"}'),
        (CHAT, b"not json"),
        (CHAT, b"[1, 2]"),
        (CHAT, b""),
        (CHAT, b"[" * 100_000),
        ("/v1/embeddings", b'{"input": "\\"reasonprune\\""}'),
        ("/v1/audio/transcriptions", b'\xff\x00 "reasonprune"'),
        ("/tokenize", b'{"reasonprune": {}}'),
    ],
)
@pytest.mark.parametrize("pieces", [1, 3])
async def test_what_does_not_concern_us_passes_byte_for_byte(path, body, pieces):
    app = App(parts=[b'{ "x"', b": 1 }"])
    answer = await ask(app, body, path, pieces=pieces)
    assert app.body == body
    assert dict(app.scope["headers"])[b"Content-Length"] == str(len(body)).encode()
    assert app.options is None
    assert [m.get("body") for m in answer.messages] == [None, b'{ "x"', b": 1 }"]
    assert answer.messages[0]["headers"] == JSON


@pytest.mark.parametrize("scope", [{"type": "lifespan"}, {"type": "websocket", "path": CHAT}])
async def test_other_protocols_pass(scope):
    app = App()
    await Edge(app, Settings(), lambda app: [])(scope, None, None)  # type: ignore[arg-type]
    assert app.scope is scope


@pytest.mark.parametrize("pieces", [1, 5])
async def test_the_field_is_taken_out_and_the_account_put_in(pieces):
    usage = {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15}
    whole = json.dumps({"id": "x", "usage": usage}).encode()
    app = App(parts=[whole[:7], whole[7:]])
    answer = await ask(app, ASKED, pieces=pieces)
    assert json.loads(app.body) == {"model": "demo"}
    assert dict(app.scope["headers"]) == {
        b"content-length": str(len(app.body)).encode(),
        b"authorization": b"secret",
    }
    assert app.options.parallel.n == 2
    assert answer.json["usage"]["completion_tokens"] == 30
    assert answer.json["reasonprune"]["tokens"]["generated"] == 30
    assert answer.headers[b"content-length"] == str(len(answer.body)).encode()
    assert answer.headers[b"x-theirs"] == b"1"
    assert answer.headers[b"x-reasonprune-applied"] == b"none"
    assert float(answer.headers[b"x-reasonprune-overhead-ms"]) >= 0


async def test_the_context_does_not_outlive_the_request():
    await ask(App(), ASKED)
    assert current_request.get() is None


@pytest.mark.parametrize("usage", [[], [USAGE]])
async def test_the_last_chunk_of_a_stream_gets_the_account(usage):
    first = b'data: {"choices":[{"finish_reason":null}]}\n\n'
    answer = await ask(App([first, LAST, *usage, DONE], SSE), ASKED)
    events = answer.body.split(b"\n\n")
    assert answer.headers[b"x-reasonprune-applied"] == b"parallel"
    assert events[0] + b"\n\n" == first
    assert events[-2:] == [b"data: [DONE]", b""]
    last = json.loads(events[-3].removeprefix(b"data: "))
    assert last["reasonprune"]["tokens"]["generated"] == 30
    assert last.get("usage", {}).get("completion_tokens") == (30 if usage else None)
    assert sum(b"reasonprune" in e for e in events) == 1
    assert not answer.messages[-1]["more_body"]


async def test_a_silent_stream_is_kept_alive_between_events_only():
    async def silence() -> None:
        await asyncio.sleep(0.1)

    app = App([b"data: {}\n\nda", silence, b"ta: {}\n\n", LAST, DONE], SSE)
    answer = await ask(app, ASKED, server={"keep_alive_s": 0.02})
    comments = answer.body.count(KEEP_ALIVE)
    assert 1 <= comments <= 6
    rest = answer.body.replace(KEEP_ALIVE, b"")
    assert rest.startswith(b"data: {}\n\ndata: {}\n\ndata: ")
    assert rest.endswith(DONE)


async def test_nothing_is_sent_after_the_end_of_a_stream():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": SSE})
        await send({"type": "http.response.body", "body": LAST + DONE, "more_body": False})
        await asyncio.sleep(0.1)  # a background task of the server

    answer = await ask(app, ASKED, server={"keep_alive_s": 0.02})  # type: ignore[arg-type]
    assert answer.body.endswith(DONE)


async def test_errors_of_the_server_pass_as_they_are():
    answer = await ask(App([b'{"error": ', b"{}}"], status=422), ASKED)
    assert (answer.status, answer.body, answer.messages[0]["headers"]) == (422, b'{"error": {}}', JSON)


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "param"),
    [
        (
            CHAT,
            {"model": "demo", "reasonprune": {"parallel": {"n": 0}}},
            400,
            "BadRequestError",
            "reasonprune.parallel.n",
        ),
        (CHAT, {"model": "demo", "reasonprune": 3}, 400, "BadRequestError", "reasonprune"),
        (CHAT, {**ASKED, "n": 3}, 400, "BadRequestError", "n"),
        (CHAT, {"model": "demo@fast"}, 404, "NotFoundError", "model"),
        ("/v1/embeddings", {"reasonprune": {}}, 400, "BadRequestError", "reasonprune"),
        ("/v1/responses", {"reasonprune": {}}, 400, "BadRequestError", "reasonprune"),
    ],
)
async def test_errors_have_the_shape_of_openai(path, body, status, kind, param):
    app = App()
    answer = await ask(app, body, path)
    assert app.scope is None
    assert answer.status == status
    assert answer.headers[b"content-type"] == b"application/json"
    assert answer.headers[b"content-length"] == str(len(answer.body)).encode()
    error = answer.json["error"]
    assert (error["type"], error["param"], error["code"]) == (kind, param, status)
    assert error["message"]


async def test_too_many_traces_are_turned_away_while_others_run():
    inside, leave = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        inside.set()
        await leave.wait()

    app = App([wait, b"{}"])
    edge = Edge(app, Settings.model_validate({"server": {"max_live_traces": 3}}), lambda app: ["demo"])
    first = asyncio.create_task(ask(app, ASKED, edge=edge))
    await inside.wait()
    refused = await ask(App(), ASKED, edge=edge)
    assert (refused.status, refused.json["error"]["type"]) == (429, "RateLimitError")
    assert refused.json["error"]["param"] == "reasonprune.parallel.n"
    assert refused.headers[b"retry-after"] == b"1"
    leave.set()
    assert (await first).status == 200
    assert (await ask(app, ASKED, edge=edge)).status == 200


@pytest.mark.parametrize("pieces", [1, 4])
async def test_a_client_that_leaves_while_its_body_is_read(pieces):
    app = App()
    answer = await ask(app, ASKED, pieces=pieces, left=True)
    assert answer.messages == []
    assert app.scope is None


async def test_an_engine_error_is_answered():
    answer = await ask(App([EngineError("gone")]), ASKED)
    assert (answer.status, answer.json["error"]["message"]) == (500, "gone")


async def test_an_engine_error_in_the_middle_of_a_stream_is_left_to_the_server():
    with pytest.raises(EngineError, match="gone"):
        await ask(App([LAST, EngineError("gone")], SSE), ASKED)


async def test_the_prefix_of_a_mounted_server_is_not_part_of_the_route():
    app = App()
    edge = Edge(app, Settings(), lambda app: ["demo"])
    body = json.dumps(ASKED).encode()

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None: ...

    await edge(
        {"type": "http", "method": "POST", "path": f"/api{CHAT}", "root_path": "/api", "headers": [], "app": None},
        receive,
        send,
    )
    assert app.options.parallel.n == 2
