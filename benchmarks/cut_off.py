"""What clients leave behind that hang up: running requests, and memory.

Two rounds of 200 requests with 4 parallel traces each, every second one cut off at a random time, streaming and not.
Memory is the resident set of the server and its engine. Usage: `python benchmarks/cut_off.py --json RESULT`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import httpx
from passthrough import request, start

from reasonprune.bench.provenance import provenance, write

REQUESTS = 200


def memory_mb(group: int) -> float:
    """Resident memory of all processes of a process group."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue  # it ended meanwhile
    return total / 1e6


async def hammer(url: str, seed: int) -> int:
    """Sends the requests eight at a time; the number of those that were cut off."""
    rng, cut = random.Random(seed), 0

    async def one(client: httpx.AsyncClient, i: int) -> None:
        nonlocal cut
        body = request("tiny", 200, i, temperature=1, stream=i % 4 < 2, ignore_eos=False)
        body["reasonprune"] = {"parallel": {"n": 4}}
        try:
            patience = rng.uniform(0.01, 0.3) if i % 2 else 120
            await client.post(f"{url}/v1/chat/completions", json=body, timeout=patience)
        except httpx.TimeoutException:
            cut += 1

    async with httpx.AsyncClient() as client:
        for first in range(0, REQUESTS, 8):
            await asyncio.gather(*(one(client, i) for i in range(first, first + 8)))
    return cut


def running(url: str) -> int:
    text = httpx.get(f"{url}/metrics").text
    found = re.findall(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} ([\d.]+)$", text, re.MULTILINE)
    return int(sum(float(value) for value in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    log = options.json.with_suffix(".log")
    process, url = start([sys.executable, "-m", "reasonprune.cli", "serve", "tiny"], log)
    try:
        asyncio.run(hammer(url, 0))  # fills caches and pools that stay
        memory, cut = [memory_mb(process.pid)], []
        for round_ in (1, 2):
            cut.append(asyncio.run(hammer(url, round_)))
            time.sleep(2)
            memory.append(memory_mb(process.pid))
        left = running(url)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    log.unlink()
    result = {"requests": REQUESTS, "cut_off": cut[0], "running_afterwards": left, "memory_mb": memory}
    write(options.json, {**result, "provenance": provenance(0, model="tiny")})
    print(result)


if __name__ == "__main__":
    main()
