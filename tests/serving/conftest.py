"""Real servers on a real vLLM engine, started as a user starts them, shared by all tests of this folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from server_process import COMMON, KEY, QUESTION, Server, ours, start, stop

from reasonprune.models import resolve


@pytest.fixture(scope="session", autouse=True)
def _needs_vllm() -> None:
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed; run `make setup`")


CONFIG = """
[presets.vote]
parallel = { policy = "self_consistency", n = 4 }

[presets.quick]
effort = "low"

[server]
max_n = 32
max_live_traces = 48
keep_alive_s = 0.05
depth_bank = "FOLDER/bank.json"

[stores]
films = { path = "FOLDER/films.tsv" }
broken = { path = "FOLDER/broken.tsv" }
gone = { sparql = "http://127.0.0.1:9/sparql" }
"""
BANK = {"model": "tiny", "layers": 6, "programs": {"lean": {"program": "0-1,3-5"}}}
FILMS = "Red Dunes\tdirected_by\tAda Lang\nRed Dunes\tstarred_actors\tBen Ode\nRed Dunes\thas_genre\tWestern\n"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    config = folder / "reasonprune.toml"
    config.write_text(CONFIG.replace("FOLDER", str(folder)))
    (folder / "bank.json").write_text(json.dumps(BANK))
    (folder / "films.tsv").write_text(FILMS)
    (folder / "broken.tsv").write_text("no triple\n")
    running = start(ours("--config", str(config), f"--api-key={KEY}"), folder / "server.log")
    yield running
    stop(running)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """vLLM's own server on the same model, without anything of ours."""
    model = resolve("tiny").path
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    names = ["--served-model-name=tiny", f"--api-key={KEY}"]
    running = start([*command, *COMMON, *names], tmp_path_factory.mktemp("plain") / "server.log", VLLM_PLUGINS="")
    yield running
    stop(running)


@pytest.fixture
def body() -> dict[str, object]:
    return {"model": "tiny", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 300}
