"""One engine for all tests here."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[Any]:
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed; run `make setup`")
    from reasonprune.engine.offline import open_engine

    limits = {"max_model_len": 1024, "max_num_seqs": 32, "kv_cache_memory_bytes": 128 << 20, "dtype": "float32"}
    async with open_engine("tiny", **limits) as running:
        yield running


@pytest.fixture
def client(engine: Any) -> Any:
    from reasonprune.engine.vllm import RaceClient

    return RaceClient(engine)
