"""`bench cot` on the shared engine: TinyReasoner's own chains, from recording to the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasonprune.bench.cot import CotConfig, measure_chains
from reasonprune.bench.dataset import read_dataset
from reasonprune.bench.record import RecordConfig, record_with, recorded_rows
from reasonprune.cot.compressor import METHODS
from reasonprune.errors import PoolError
from reasonprune.models import resolve


def quiet(*_: Any) -> None:
    """No progress bar."""


async def test_chains_are_recorded_shortened_and_answered(engine: Any, tmp_path: Path) -> None:
    questions = read_dataset(Path(resolve("tiny").path) / "test.jsonl", 16)
    chains = tmp_path / "chains.jsonl"
    await record_with(engine, questions, RecordConfig("tiny", 1, 0.0, 1.0, 300, 0, 0, 16), chains, quiet)
    config = CotConfig("tiny", (0.5, 1.0), METHODS, withhold=True)
    result = await measure_chains(engine, recorded_rows(chains, None), config, quiet)
    assert 8 <= result["chains"] <= result["questions"] == 16
    assert list(result["methods"]) == list(METHODS)
    for cells in result["methods"].values():
        assert list(cells) == ["0.5", "1"]
        assert cells["1"]["kept"] == 1
        assert cells["1"] == result["methods"]["none"]["1"], "with the whole budget all methods keep all"
        assert 0 < cells["1"]["agreement"] <= 1
    half, whole = (result["methods"]["none"][budget] for budget in ("0.5", "1"))
    assert half == whole | {"budget_met": 0.0}
    asap, last = result["methods"]["asap"]["0.5"], result["methods"]["last_k"]["0.5"]
    assert asap["answer_still_stated"] == last["answer_still_stated"] == 1
    assert result["methods"]["random"]["0.5"]["kept"] <= 0.5
    assert result["withheld"]["methods"]["none"]["0.5"]["answer_still_stated"] == 0


async def test_a_pool_without_log_probabilities_says_so_where_they_are_needed(engine: Any, tmp_path: Path) -> None:
    questions = read_dataset(Path(resolve("tiny").path) / "test.jsonl", 1)
    pool = tmp_path / "pool.jsonl"
    await record_with(engine, questions, RecordConfig("tiny", 2, 0.7, 1.0, 40, 0, 0, 1, logprobs=False), pool, quiet)
    (row,) = map(json.loads, pool.read_text().splitlines())
    assert all(trace["token_ids"] and "logprobs" not in trace for trace in row["traces"])
    with pytest.raises(PoolError, match="lacks text, token_ids, logprobs"):
        recorded_rows(pool, None)
