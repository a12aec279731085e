"""What reasonprune adds to requests that do not use it: throughput and time to first token against plain vLLM.

Both servers run the same model with the same flags on this machine and take turns, round by round, so that whatever
else the machine does meets both. Usage: `python benchmarks/passthrough.py --model tiny --json RESULT`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from reasonprune.bench.provenance import provenance, write
from reasonprune.models import resolve

FLAGS = [
    "--host=127.0.0.1",
    "--max-model-len=1024",
    "--max-num-seqs=32",
    "--block-size=32",
    "--kv-cache-memory-bytes=536870912",
    "--enforce-eager",
    "--disable-uvicorn-access-log",
]
CONCURRENT = 16


def start(command: list[str], log: Path) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "TORCH_COMPILE_DISABLE": "1",
        "OMP_NUM_THREADS": "1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *FLAGS, f"--port={port}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return process, url
        except httpx.TransportError:
            time.sleep(0.5)
    sys.exit(f"The server did not start; see {log}.")


def request(model: str, tokens: int, i: int, **more: Any) -> dict[str, Any]:
    question = f"Start with {20 + i % 70}, add 53, multiply by 7, subtract 277. What do you get?"
    messages = [{"role": "user", "content": question}]
    return {"model": model, "messages": messages, "max_tokens": tokens, "ignore_eos": True, "temperature": 0, **more}


async def throughput(client: httpx.AsyncClient, model: str, tokens: int) -> float:
    """Tokens per second of 16 requests at once."""
    began = time.perf_counter()
    calls = (client.post("/v1/chat/completions", json=request(model, tokens, i)) for i in range(CONCURRENT))
    answers = await asyncio.gather(*calls)
    generated = sum(answer.json()["usage"]["completion_tokens"] for answer in answers)
    return generated / (time.perf_counter() - began)


async def first_token_ms(client: httpx.AsyncClient, model: str, i: int) -> float:
    """Milliseconds to the first chunk of one streamed request on an idle server."""
    began = time.perf_counter()
    async with client.stream("POST", "/v1/chat/completions", json=request(model, 2, i, stream=True)) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                return (time.perf_counter() - began) * 1000
    raise RuntimeError("the stream ended without a chunk")


async def measure(urls: dict[str, str], model: str, tokens: int, rounds: int) -> dict[str, Any]:
    speeds: dict[str, list[float]] = {name: [] for name in urls}
    firsts: dict[str, list[float]] = {name: [] for name in urls}
    clients = {name: httpx.AsyncClient(base_url=url, timeout=600) for name, url in urls.items()}
    for client in clients.values():
        for _ in range(2):
            await throughput(client, model, tokens)
    for i in range(rounds):
        for name in urls if i % 2 else reversed(urls):
            speeds[name].append(await throughput(clients[name], model, tokens))
    for i in range(rounds * 10):
        for name in urls if i % 2 else reversed(urls):
            firsts[name].append(await first_token_ms(clients[name], model, i))
    for client in clients.values():
        await client.aclose()
    ratios = [ours / plain for ours, plain in zip(speeds["reasonprune"], speeds["plain"], strict=True)]
    added = [ours - plain for ours, plain in zip(firsts["reasonprune"], firsts["plain"], strict=True)]
    return {
        "concurrent": CONCURRENT,
        "tokens_per_request": tokens,
        "rounds": rounds,
        "tokens_per_s": {name: round(statistics.median(values), 1) for name, values in speeds.items()},
        "throughput_ratio": round(statistics.median(ratios), 4),
        "throughput_ratio_quartiles": [round(q, 4) for q in statistics.quantiles(ratios, n=4)],
        "first_token_ms": {name: round(statistics.median(values), 2) for name, values in firsts.items()},
        "added_first_token_ms": round(statistics.median(added), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    path = resolve(options.model).path
    vllm = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", path]
    commands = {
        "plain": [*vllm, "--served-model-name", options.model],
        "reasonprune": [sys.executable, "-m", "reasonprune.cli", "serve", options.model],
    }
    servers: dict[str, tuple[subprocess.Popen[bytes], str]] = {}
    try:
        for name, command in commands.items():
            servers[name] = start(command, options.json.with_suffix(f".{name}.log"))
        urls = {name: url for name, (_, url) in servers.items()}
        result = asyncio.run(measure(urls, options.model, options.tokens, options.rounds))
    finally:
        for process, _ in servers.values():
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
    write(options.json, {**result, "provenance": provenance(None, model=options.model)})
    for name in commands:
        options.json.with_suffix(f".{name}.log").unlink()
    print(result)


if __name__ == "__main__":
    main()
