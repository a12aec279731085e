"""The ASGI middleware in front of vLLM's routes. A request that asks for nothing of ours passes byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from reasonprune.api.admission import Admission
from reasonprune.api.context import PrunerService, prune_request
from reasonprune.api.history import shorten_history
from reasonprune.api.request import FIELD, RACED_ROUTES, Prepared, prepare, refuse_elsewhere
from reasonprune.api.response import StreamRewriter, complete
from reasonprune.context import current_request
from reasonprune.depth.choice import Programs
from reasonprune.errors import ReasonpruneError
from reasonprune.graph.chat import with_evidence
from reasonprune.graph.service import GraphService
from reasonprune.options import Settings

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
KEEP_ALIVE = b": traces are competing\n\n"


class Edge:
    """Reads the request field, sets the request's context, and writes the account into the response."""

    def __init__(
        self,
        app: Any,
        settings: Settings,
        served: Callable[[Any], Collection[str]],
        admission: Admission | None = None,
        programs: Callable[[Any], Programs | None] = lambda app: None,
        pruner: PrunerService | None = None,
        graphs: GraphService | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._served = served
        self._programs = programs
        self._graphs = graphs or GraphService(settings.stores)
        self._admission = admission or Admission(settings.server.max_live_traces)
        self._pruner = pruner or PrunerService(settings.server.pruner)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or scope.get("method") != "POST" or not path.startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        body, disconnected = await _read(receive)
        if disconnected:
            return
        with contextlib.ExitStack() as admitted:
            try:
                prepared = self._prepare(path, body, scope)
                if prepared is not None:
                    parallel = prepared.context.options.parallel
                    admitted.enter_context(self._admission.enter(parallel.most_at_once if parallel else 1))
            except ReasonpruneError as error:
                await _send_error(send, error)
                return
            if prepared is None:
                await self._app(scope, _replay(body, receive), send)
                return
            prepared.context.account.started_at = began
            prepared.context.account.overhead_ms = (time.perf_counter() - began) * 1000
            prepared = await prune_request(self._pruner, path, prepared)
            prepared = await shorten_history(prepared, scope["app"])
            try:
                prepared = await with_evidence(prepared, self._graphs)
            except ReasonpruneError as error:
                await _send_error(send, error)
                return
            await self._serve(prepared, scope, receive, send)

    def _prepare(self, path: str, body: bytes, scope: Scope) -> Prepared | None:
        if path not in RACED_ROUTES:
            if b'"reasonprune"' in body:
                with contextlib.suppress(ValueError, RecursionError):
                    parsed = json.loads(body)
                    if isinstance(parsed, dict) and FIELD in parsed:
                        raise refuse_elsewhere(path)
            return None
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            return None  # vLLM words the error
        if not isinstance(parsed, dict):
            return None
        return prepare(parsed, self._settings, self._served(scope["app"]), self._programs(scope["app"]))

    async def _serve(self, prepared: Prepared, scope: Scope, receive: Receive, send: Send) -> None:
        body = json.dumps(prepared.body).encode()
        headers = [(k, v) for k, v in scope["headers"] if k.lower() != b"content-length"]
        inner = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        token = current_request.set(prepared.context)
        writer = _Writer(send, prepared, self._settings.server.keep_alive_s)
        try:
            await self._app(inner, _replay(body, receive), writer.send)
        except ReasonpruneError as error:
            if writer.started:
                raise  # too late for a status; the server cuts the connection
            await _send_error(send, error)
        finally:
            current_request.reset(token)
            await writer.close()


class _Writer:
    """The response of one request of ours on its way out."""

    def __init__(self, send: Send, prepared: Prepared, keep_alive_s: float) -> None:
        self._send = send
        self._account = prepared.context.account
        account, options = prepared.context.account, prepared.context.options
        drafting = options.speculative is not None and options.speculative.enabled
        ahead = {"parallel": options.parallel, "depth": prepared.context.depth, "speculative": drafting}
        planned = [*account.applied, *(name for name, asked in ahead.items() if asked)]
        self._planned = ",".join(planned) or "none"
        self._keep_alive_s = keep_alive_s
        self._start: Message | None = None
        self._whole = bytearray()
        self._stream: StreamRewriter | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._last_sent = 0.0
        self._plain = False
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body" and not self._plain:
            await self._body(message)
        else:
            await self._out(message)

    async def _begin(self, message: Message) -> None:
        content_type = dict(message["headers"]).get(b"content-type", b"")
        if message["status"] != 200:
            self._plain = True
            await self._out(message)
        elif content_type.startswith(b"text/event-stream"):
            self._stream = StreamRewriter(self._account)
            applied = (b"x-reasonprune-applied", self._planned.encode())
            await self._out({**message, "headers": [*message["headers"], applied]})
            self._keeper = asyncio.create_task(self._keep_alive())
        else:
            self._start = message

    async def _body(self, message: Message) -> None:
        data, more = message.get("body", b""), message.get("more_body", False)
        if self._stream is not None:
            ready = self._stream.feed(data) + (b"" if more else self._stream.end())
            if not more and self._keeper is not None:
                self._keeper.cancel()
            if ready or not more:
                await self._out({**message, "body": ready})
            return
        self._whole += data
        if more or self._start is None:
            return
        with self._account.overhead():
            body = complete(bytes(self._whole), self._account)
        applied = ",".join(self._account.applied) or "none"
        headers = [(k, v) for k, v in self._start["headers"] if k != b"content-length"] + [
            (b"content-length", str(len(body)).encode()),
            (b"x-reasonprune-applied", applied.encode()),
            (b"x-reasonprune-overhead-ms", f"{self._account.overhead_ms:.2f}".encode()),
        ]
        await self._out({**self._start, "headers": headers})
        await self._out({"type": "http.response.body", "body": body, "more_body": False})

    async def _out(self, message: Message) -> None:
        self.started = True
        self._last_sent = time.monotonic()
        await self._send(message)

    async def _keep_alive(self) -> None:
        while True:
            idle = time.monotonic() - self._last_sent
            if idle >= self._keep_alive_s:
                await self._out({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})
                idle = 0.0
            await asyncio.sleep(self._keep_alive_s - idle)

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._keeper


async def _read(receive: Receive) -> tuple[bytes, bool]:
    """The whole body, and whether the client left before it was complete."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"", True
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts), False


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive channel that gives `body` once, then what the client does next."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _send_error(send: Send, error: ReasonpruneError) -> None:
    body = json.dumps(error.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
