"""`reasonprune bench self-eval --upstream` against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from server_process import KEY

from reasonprune.bench.drawn import Draws
from reasonprune.bench.self_eval import SelfEvalBenchConfig, Server, bench_self_eval
from reasonprune.models import resolve

pytest.importorskip("httpx", reason="httpx is not installed; pip install 'reasonprune[upstream]'")


def test_a_server_is_measured_like_a_model_here(server: Any) -> None:
    upstream = Server(server.url, "tiny", KEY)
    config = SelfEvalBenchConfig(upstream, "verbal", Draws(2, 0.7, 1.0, 300))
    found = bench_self_eval(Path(resolve("tiny").path) / "test.jsonl", config, 2)
    assert (found["model"], found["questions"]) == ("tiny", 2)
    assert found["check_tokens"]["generated"] == 1
    assert found["tokens_a_trace"] > 20
    assert set(found["shares"]) == {"0.25", "0.5", "0.75", "1"}
