"""`reasonprune bench self-eval --upstream` against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from server_process import KEY

from reasonprune.bench.drawn import Draws
from reasonprune.bench.self_eval import SelfEvalBenchConfig, bench_self_eval
from reasonprune.engine.upstream import Server
from reasonprune.errors import ModelError
from reasonprune.models import resolve

pytest.importorskip("httpx", reason="httpx is not installed; pip install 'reasonprune[upstream]'")


def test_a_model_that_does_not_take_the_question_is_named(server: Any) -> None:
    """TinyReasoner knows sums and no words: neither Yes nor No is among the replies that the server names."""
    upstream = Server(server.url, "tiny", KEY)
    config = SelfEvalBenchConfig(upstream, "verbal", Draws(2, 0.7, 1.0, 300))
    with pytest.raises(ModelError, match="names neither Yes nor No among the likely replies"):
        bench_self_eval(Path(resolve("tiny").path) / "test.jsonl", config, 2)
