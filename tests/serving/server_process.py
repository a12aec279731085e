"""A server process of a test: how it is started, reached and stopped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from openai import AsyncOpenAI, OpenAI

ROOT = Path(__file__).parents[2]
KEY = "sk-test"
START_SECONDS = 300
QUESTION = "Start with 37, add 53, multiply by 7, subtract 277, add 625. What do you get?"
ANSWER = "978"
COMMON = [
    "--host=127.0.0.1",
    "--dtype=float32",
    "--max-model-len=1024",
    "--max-num-seqs=64",
    "--max-num-batched-tokens=256",  # so small that prefills of concurrent requests are split
    "--block-size=32",
    "--kv-cache-memory-bytes=268435456",
    "--enforce-eager",
    "--enable-auto-tool-choice",
    "--tool-call-parser=hermes",
    # TinyReasoner would fill a JSON object with blanks for ever.
    '--structured-outputs-config={"backend": "xgrammar", "disable_any_whitespace": true}',
]


@dataclass
class Server:
    """A server process and how to reach it."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEY}"}

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=120)

    def async_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=self.headers, timeout=120)

    def openai(self) -> OpenAI:
        return OpenAI(base_url=self.url + "/v1", api_key=KEY, max_retries=0, timeout=120)

    def async_openai(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.url + "/v1", api_key=KEY, max_retries=0, timeout=120)

    def metric(self, name: str) -> float:
        """The sum of a Prometheus metric over its labels."""
        text = httpx.get(self.url + "/metrics").text
        pattern = rf"^{re.escape(name)}(?:{{[^}}]*}})? ([-+.\de]+)$"
        return sum(float(value) for value in re.findall(pattern, text, re.MULTILINE))

    def in_flight(self) -> int:
        return int(self.metric("vllm:num_requests_running") + self.metric("vllm:num_requests_waiting"))

    def wait_idle(self, seconds: float = 10) -> bool:
        """Whether the engine runs nothing within `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.in_flight() == 0:
                return True
            time.sleep(0.05)
        return False


def start(command: list[str], log: Path, **environment: str) -> Server:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    defaults = {
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "TORCH_COMPILE_DISABLE": "1",
        "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX", str(ROOT / ".venv" / "pycache")),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--port={port}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=inherited | defaults | environment,
            start_new_session=True,
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(server.url + "/health", timeout=5).status_code == 200:
                return server
        except httpx.TransportError:
            time.sleep(0.25)
    stop(server)
    raise RuntimeError(f"The server did not start:\n{log.read_text()[-4000:]}")


def stop(server: Server) -> None:
    """Ends the server and its engine, which share a process group of their own."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(20)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)


def ours(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "reasonprune.cli", "serve", "tiny", *COMMON, *arguments]
