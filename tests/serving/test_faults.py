"""Faults of the main path on the real engine: clients that leave, overload, dangerous seeds, an engine that dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import KEY, ours, start, stop

SLOW = {"parallel": {"policy": "self_consistency", "n": 16}}
LONG = {"ignore_eos": True, "max_tokens": 900}


async def leave(server: Any, body: dict[str, Any], after: float) -> None:
    """A client that hangs up `after` seconds, wherever the request then is."""
    async with server.async_client() as client:
        request = asyncio.create_task(client.post("/v1/chat/completions", json=body))
        await asyncio.sleep(after)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after", [0.0, 0.02, 0.5])
async def test_a_client_that_leaves_frees_every_trace(
    server: Any, body: dict[str, Any], stream: bool, after: float
) -> None:
    await leave(server, {**body, **LONG, "stream": stream, "reasonprune": SLOW}, after)
    assert server.wait_idle(5)


async def test_a_client_that_leaves_between_traces(server: Any, body: dict[str, Any]) -> None:
    """Adaptive consistency runs one trace after the other; none may start once the client is gone."""
    field = {"parallel": {"policy": "adaptive_consistency", "n": 32, "threshold": 0.999999}}
    started = server.metric("vllm:request_success_total")
    async with server.async_client() as client:
        request = asyncio.create_task(client.post("/v1/chat/completions", json={**body, "reasonprune": field}))
        while await asyncio.to_thread(server.metric, "vllm:request_success_total") == started:
            await asyncio.sleep(0.02)
        request.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await request
    assert server.wait_idle(5)
    done = server.metric("vllm:request_success_total")
    assert started < done < started + 32
    await asyncio.sleep(0.3)
    assert server.metric("vllm:request_success_total") == done


async def test_a_client_that_leaves_while_the_winner_streams(server: Any, body: dict[str, Any]) -> None:
    field = {"parallel": {"policy": "self_consistency", "n": 1}}
    async with (
        server.async_client() as client,
        client.stream(
            "POST", "/v1/chat/completions", json={**body, **LONG, "stream": True, "reasonprune": field}
        ) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                break
    assert server.wait_idle(5)


async def test_overload_is_answered_with_429(server: Any, body: dict[str, Any]) -> None:
    """The limit is 48 live traces: three requests of 16 fit, the others are told to come back."""
    slow = {**body, "ignore_eos": True, "reasonprune": SLOW}  # none may end before the last has come
    async with server.async_client() as client:
        answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=slow) for _ in range(6)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 3
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert "max_live_traces" in refused[0].json()["error"]["message"]
    assert [answer.status_code for answer in answers].count(200) == 3


async def test_seeds_cannot_end_the_engine(server: Any, body: dict[str, Any]) -> None:
    """Long seeded prompts, so many that their prefills are split over steps: what ends vLLM's own CPU engine."""
    long = [{"role": "user", "content": "Start with 3, " + "add 4, " * 60 + "add 5. What do you get?"}]
    plain = {**body, "messages": long, "max_tokens": 8, "seed": 0}

    def request(i: int) -> dict[str, Any]:
        unlike = [{"role": "user", "content": f"{i} {long[0]['content']}"}]
        field = {"reasonprune": {"parallel": {"policy": "self_consistency", "n": 4}}} if i % 2 else {"n": 4}
        return {**plain, "messages": unlike, **field}

    async with server.async_client() as client:
        answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=request(i)) for i in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert (await client.get("/health")).status_code == 200
        again = await asyncio.gather(*(client.post("/v1/chat/completions", json=request(i)) for i in range(0, 20, 2)))
    texts = [[c["message"]["content"] for c in a.json()["choices"]] for a in (*answers[::2], *again)]
    assert texts[:10] == texts[10:], "a seeded request gives the same samples whatever else runs"


async def test_two_hundred_requests_half_of_them_cut_off(server: Any, body: dict[str, Any]) -> None:
    rng = random.Random(0)
    field = {"parallel": {"policy": "consensus", "n": 4}}

    async def one(client: httpx.AsyncClient, i: int) -> None:
        request = {**body, "stream": i % 4 < 2, "reasonprune": field}
        try:
            await client.post("/v1/chat/completions", json=request, timeout=rng.uniform(0.01, 0.3) if i % 2 else 60)
        except httpx.TimeoutException:
            assert i % 2

    # A connection of its own for each: one that idles is closed by the server, perhaps just when it is used again.
    own = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url, headers=server.headers, limits=own) as client:
        for first in range(0, 200, 8):
            await asyncio.gather(*(one(client, i) for i in range(first, first + 8)))
    assert server.wait_idle(5)
    assert server.metric("reasonprune_live_traces") == 0


@pytest.fixture
def doomed(tmp_path: Path) -> Any:
    running = start(ours(f"--api-key={KEY}"), tmp_path / "server.log")
    yield running
    stop(running)


def engine_process(server: Any) -> int:
    """The process id of the engine core, a descendant of the server."""
    children = Path(f"/proc/{server.process.pid}/task")
    found = [int(pid) for task in children.iterdir() for pid in (task / "children").read_text().split()]
    named = [pid for pid in found if "EngineCore" in Path(f"/proc/{pid}/cmdline").read_text()]
    return (named or found)[-1]


async def test_when_the_engine_dies_every_open_request_gets_one_error(doomed: Any, body: dict[str, Any]) -> None:
    async with doomed.async_client() as client:
        whole = {**body, **LONG, "reasonprune": SLOW}
        requests = [asyncio.create_task(client.post("/v1/chat/completions", json=whole)) for _ in range(2)]
        streamed = {**whole, "stream": True}
        requests += [asyncio.create_task(client.post("/v1/chat/completions", json=streamed)) for _ in range(2)]
        requests += [asyncio.create_task(client.post("/v1/chat/completions", json={**body, **LONG}))]
        await asyncio.sleep(1.0)
        os.kill(engine_process(doomed), 9)
        answers = await asyncio.wait_for(asyncio.gather(*requests), 60)
        for answer in answers:
            if answer.headers["content-type"].startswith("text/event-stream"):
                errors = [line for line in answer.text.split("\n\n") if line.startswith('data: {"error"')]
                assert len(errors) == 1
            else:
                assert answer.status_code == 500
                assert answer.json()["error"]["message"]
        deadline = time.monotonic() + 30
        healthy = True
        while healthy and time.monotonic() < deadline:
            try:
                healthy = (await client.get("/health")).status_code == 200
            except httpx.TransportError:
                healthy = False
        assert not healthy
