"""Recording and live benchmarks through the command line, on a real engine with TinyReasoner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from reasonprune.bench.record import RecordConfig, _recorded
from reasonprune.errors import PoolError
from reasonprune.models import resolve

needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed; run `make setup`")
CONFIG = RecordConfig("tiny", 2, 1.0, 1.0, 300, 0, 0)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "reasonprune.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@needs_vllm
def test_record_resume_and_replay(tmp_path: Path) -> None:
    data = Path(resolve("tiny").path) / "test.jsonl"
    pool, out = tmp_path / "pool.jsonl", tmp_path / "out.json"
    record = ["record", str(data), "--model=tiny", "--n=3", "--max-tokens=300", "--probe-every=40", f"--out={pool}"]
    first = run(*record, "--limit=2")
    assert first.returncode == 0, first.stderr[-2000:]
    whole = pool.read_text()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert len(rows) == 2
    for trace in (trace for row in rows for trace in row["traces"]):
        assert len(trace["token_ids"]) == len(trace["logprobs"]) == len(trace["confidences"])
        assert all(tokens % 40 == 0 for tokens, _ in trace["probes"])
        assert trace["finish_reason"] in ("stop", "length")
    assert {len(row["traces"]) for row in rows} == {3}

    pool.write_text(whole + '{"question": "half a li')  # as an interrupted run leaves it
    second = run(*record, "--limit=3")
    assert second.returncode == 0, second.stderr[-2000:]
    assert pool.read_text().startswith(whole)
    assert len(pool.read_text().splitlines()) == 3

    replay = run("bench", "pool", f"--file={pool}", "--policy=esc", "--n=3", "--set=window=2", f"--json={out}")
    assert replay.returncode == 0, replay.stderr
    result = json.loads(out.read_text())
    assert result["questions"] == 3
    assert result["baseline"]["n"] == 3
    probes = ["--policy=parallel_probe", "--set=every=40", "--set=stable=2", "--n=3"]
    assert run("bench", "pool", f"--file={pool}", *probes, f"--json={out}").returncode == 0
    assert json.loads(out.read_text())["probe_tokens"] > 0


@needs_vllm
def test_bench_parallel_writes_both_sides_and_where_they_come_from(tmp_path: Path) -> None:
    data, out = Path(resolve("tiny").path) / "test.jsonl", tmp_path / "out.json"
    done = run(
        "bench", "parallel", "--model=tiny", f"--data={data}", "--policy=consensus", "--n=4", "--limit=3",
        "--max-tokens=300", f"--json={out}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(out.read_text())
    assert result["questions"] == 3
    assert result["total_tokens"] <= result["baseline"]["total_tokens"]
    assert result["baseline"]["traces_started"] == 4
    assert {"command", "commit", "versions", "data", "seed"} <= result["provenance"].keys()
    assert result["sampling"]["temperature"] == 0.7, "TinyReasoner's own generation config"


def test_a_pool_of_other_settings_is_not_mixed_in(tmp_path: Path) -> None:
    out = tmp_path / "pool.jsonl"
    row = {"question": "q", "model": "demo", "sampling": CONFIG.sampling, "traces": [{}, {}]}
    out.write_text(json.dumps(row) + "\n")
    with pytest.raises(PoolError, match="recorded with model demo"):
        _recorded(out, CONFIG)
    out.write_text(json.dumps(row | {"model": "tiny"}) + "\n")
    assert _recorded(out, CONFIG) == {"q"}
    with pytest.raises(PoolError, match="recorded with model tiny"):
        _recorded(out, replace(CONFIG, logprobs=False))
    out.write_text("not json\n")
    with pytest.raises(PoolError, match="choose another --out"):
        _recorded(out, CONFIG)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bench", "pool", "--file=nothing.json", "--policy=esc", "--json=x"], "cannot be read"),
        (["bench", "pool", "--file=x", "--policy=magic", "--json=x"], "not a policy"),
        (["bench", "pool", "--file=x", "--policy=esc", "--set=windw=3", "--json=x"], "Did you mean 'window'"),
        (["bench", "pool", "--file=x", "--policy=esc", "--set=window", "--json=x"], "expected key=value"),
        (["serve", "no-such-model"], "is not a model"),
        (["serve", "tiny", "--config=none.toml"], "cannot be read"),
        (["serve", "tiny", "--reasonprune.effrt", "low"], "Did you mean 'effort'"),
    ],
)
def test_a_wrong_command_line_gets_one_clear_line(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
