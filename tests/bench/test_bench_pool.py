import asyncio
import json
from pathlib import Path

import pytest

from reasonprune.bench.pool import bench_pool, means, orders, replay
from reasonprune.engine.pool import RecordedQuestion, RecordedTrace
from reasonprune.errors import PoolError
from reasonprune.policy_options import (
    AdaptiveConsistencyOptions,
    ConsensusOptions,
    DeepConfOptions,
    DeepPruneOptions,
    ParallelProbeOptions,
    PolicyOptions,
    SelfConsistencyOptions,
)


def question(*traces: RecordedTrace, gold: str = "a") -> RecordedQuestion:
    return RecordedQuestion("?", gold, traces)


THREE = question(RecordedTrace(30, "a"), RecordedTrace(10, "b"), RecordedTrace(20, "a"))


@pytest.fixture
def pool(tmp_path) -> Path:
    """Four questions whose eight traces agree but for one."""
    answers = ["4"] * 7 + ["5"]
    branches = [[["4"] * 20, 100 + 10 * i, answer] for i, answer in enumerate(answers)]
    rows = [{"question": str(i), "gold_answer": "4", "probe_freq": 10, "each_branch": branches} for i in range(4)]
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize(
    ("options", "correct", "total", "sequential"),
    [
        (SelfConsistencyOptions(n=3), True, 60, 30),
        (SelfConsistencyOptions(n=1), True, 30, 30),
        (AdaptiveConsistencyOptions(n=3, threshold=0.7), True, 30, 30),
        (ConsensusOptions(n=3, threshold=0.7), False, 30, 10),
    ],
)
async def test_one_race(options: PolicyOptions, correct, total, sequential):
    run = await replay(options, THREE, THREE.traces)
    assert (run.correct, run.total_tokens, run.sequential_tokens, run.probe_tokens) == (correct, total, sequential, 0)


async def test_a_trace_that_is_returned_runs_to_its_end():
    traces = [RecordedTrace(40, "a", {10: "a"}), RecordedTrace(30, "b", {10: "a"})]
    options = ParallelProbeOptions(n=2, every=10, stable=1, probe_tokens=4)
    run = await replay(options, question(*traces), traces)
    # Both are probed at 10 tokens; forced closing needs no more than that.
    assert (run.correct, run.total_tokens, run.sequential_tokens, run.probe_tokens) == (True, 2 * 14 + 8, 14, 8)


ALIKE = [RecordedTrace(tokens, "a", {5: "a", 10: "a"}) for tokens in (10, 20, 30, 40)]


@pytest.mark.parametrize(
    ("options", "total", "sequential", "probes"),
    [
        # The first ends at 10 tokens; the other three run for 4 more while they are forced to answer.
        (DeepPruneOptions(n=4, probe_tokens=4), 10 + 3 * 14 + 3 * 4, 14, 12),
        # Three visits at 5 tokens: two traces are forced for the first, one for each of the others. The first trace
        # has ended meanwhile, so that no other need go on.
        (DeepPruneOptions(n=4, when="prefix", prefix=5, finish=1, probe_tokens=2), 10 + 3 * 11 + 4 * 2, 11, 8),
    ],
)
async def test_a_race_that_is_judged_pays_for_the_answers_it_forces(options, total, sequential, probes):
    run = await replay(options, question(*ALIKE), ALIKE)
    assert (run.correct, run.total_tokens, run.sequential_tokens, run.probe_tokens) == (True, total, sequential, probes)


async def test_a_judge_that_needs_an_engine_has_none_in_replay():
    with pytest.raises(PoolError, match="llm needs a live engine"):
        await replay(DeepPruneOptions(n=4, judge="llm"), question(*ALIKE), ALIKE)


@pytest.mark.parametrize(("judge", "lacks"), [("probe", "no probes"), ("encoder", "no texts"), ("cosine", "no texts")])
def test_a_pool_without_what_the_judge_reads_is_refused(tmp_path, judge, lacks):
    row = {"question": "?", "gold": "4", "traces": [{"text": "", "token_ids": [1, 2], "answer": "4"}] * 4}
    path = tmp_path / "pool.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(PoolError, match=rf"pool\.jsonl holds {lacks}"):
        bench_pool(path, DeepPruneOptions(n=4, judge=judge), reshuffles=1)


async def test_a_pool_that_lacks_what_the_policy_needs():
    with pytest.raises(PoolError, match="needs token confidences"):
        await replay(DeepConfOptions(n=3), THREE, THREE.traces)
    with pytest.raises(PoolError, match="record the pool with probes"):
        await replay(ParallelProbeOptions(n=3, every=5), THREE, THREE.traces)


def test_orders_depend_on_the_seed_alone():
    assert orders(THREE, 0, 2, 5, seed=1) == orders(THREE, 0, 2, 5, seed=1)
    assert orders(THREE, 0, 2, 5, seed=1) != orders(THREE, 0, 2, 5, seed=2)
    assert orders(THREE, 0, 2, 3, seed=1) == orders(THREE, 0, 2, 5, seed=1)[:3]
    assert all(len(order) == 2 for order in orders(THREE, 0, 2, 5, seed=1))


def test_too_few_traces():
    with pytest.raises(PoolError, match="n is 4, but the pool holds 3 traces of question 7"):
        orders(THREE, 7, 4, 1, seed=0)


def test_means():
    runs = [asyncio.run(replay(SelfConsistencyOptions(n=n), THREE, THREE.traces[-n:])) for n in (1, 2)]
    assert means(runs) == {"accuracy": 0.5, "total_tokens": 25.0, "sequential_tokens": 20.0, "probe_tokens": 0.0}


def test_a_policy_is_measured_against_self_consistency(pool):
    seen: list[float] = []
    result = bench_pool(pool, ConsensusOptions(n=8), reshuffles=3, progress=seen.append)
    assert {key: result[key] for key in ("policy", "file", "n", "questions", "reshuffles")} == {
        "policy": "consensus",
        "file": "pool.json",
        "n": 8,
        "questions": 4,
        "reshuffles": 3,
    }
    assert result["accuracy"] == 1
    assert result["baseline"]["total_tokens"] == sum(range(100, 180, 10))
    assert result["baseline"]["sequential_tokens"] == 170
    # The three shortest end first and agree: 100, 110 and 120 tokens; the other five are stopped at 120.
    assert result["total_tokens"] == 100 + 110 + 6 * 120
    assert result["total_tokens_share"] == round(930 / 1080, 4)
    assert result["sequential_tokens_share"] == round(120 / 170, 4)
    assert result["equal_tokens_baseline"]["n"] == 7
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)
    assert result == bench_pool(pool, ConsensusOptions(n=8), reshuffles=3)


@pytest.mark.parametrize(("options", "share"), [(ConsensusOptions(n=64), 0.15), (DeepPruneOptions(n=64), 0.1)])
def test_real_traces(data_folder, options, share):
    file = data_folder / "parallel_probe" / "aime24.json"
    if not file.is_file():
        pytest.skip(f"{file.name} of Parallel-Probe is not in the data folder")
    result = bench_pool(file, options, reshuffles=8)
    assert result["total_tokens_share"] <= share
    assert result["accuracy"] >= result["baseline"]["accuracy"] - 0.02
