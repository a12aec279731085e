"""`reasonprune bench pool`: a policy against self-consistency on recorded traces, over many reshuffles."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonprune.engine.pool import RecordedQuestion, RecordedTrace, read_pool
from reasonprune.engine.replay import RecordedForce, ReplayRace
from reasonprune.errors import PoolError
from reasonprune.judges.build import build_judge
from reasonprune.judges.probe import ProbeJudge
from reasonprune.parallel.driver import Driver
from reasonprune.parallel.policies import build
from reasonprune.policy_options import (
    BestOfNOptions,
    DeepPruneOptions,
    ParallelProbeOptions,
    PolicyOptions,
    SelfConsistencyOptions,
)


@dataclass(frozen=True)
class Run:
    """One question, one order of its traces."""

    correct: bool
    total_tokens: int
    sequential_tokens: float
    probe_tokens: int
    started: int  # traces


async def replay(options: PolicyOptions, question: RecordedQuestion, order: Sequence[RecordedTrace]) -> Run:
    """One race over recorded traces; its tokens are those of all traces up to their stop, and of all probes."""
    policy = build(options)
    cost = options.probe_tokens if isinstance(options, (ParallelProbeOptions, DeepPruneOptions)) else 0
    judge = (
        build_judge(options, ProbeJudge(RecordedForce(order, cost))) if isinstance(options, DeepPruneOptions) else None
    )
    race = ReplayRace(order, policy.signals, cost, judge, question.question)
    outcome = await Driver(policy, race).run()
    if outcome.failure:
        raise PoolError(f"The policy failed in replay: {outcome.failure}")
    for trace in outcome.kept:
        await race.ended(trace)
    winner = outcome.kept[0]
    answer = outcome.decision.answer if outcome.decision.answer is not None else order[winner].answer
    tokens = sum(race.tokens(trace) for trace in outcome.traces) + race.probe_tokens
    return Run(question.correct(answer), tokens, race.now, race.probe_tokens, len(outcome.traces))


def orders(question: RecordedQuestion, index: int, n: int, reshuffles: int, seed: int) -> list[list[RecordedTrace]]:
    """`reshuffles` random choices of `n` traces; the same for every policy at the same seed."""
    if len(question.traces) < n:
        raise PoolError(f"n is {n}, but the pool holds {len(question.traces)} traces of question {index}; lower --n.")
    return [random.Random(f"{seed}/{index}/{r}").sample(question.traces, n) for r in range(reshuffles)]


def _check(file: Path, questions: Sequence[RecordedQuestion], options: PolicyOptions) -> None:
    """Raises PoolError where the pool lacks what the judge reads: it would find nothing alike, and not say why."""
    if isinstance(options, BestOfNOptions):
        if not any(trace.scores for question in questions for trace in question.traces):
            raise PoolError(f"{file.name} holds no self-evaluation scores, which best_of_n needs.")
        return
    if not isinstance(options, DeepPruneOptions):
        return
    traces = [trace for question in questions for trace in question.traces]
    if options.judge == "probe" and not any(trace.probes for trace in traces):
        raise PoolError(f"{file.name} holds no probes for the judge probe; record it with --probe-every.")
    if options.judge in ("encoder", "cosine") and not any(trace.text for trace in traces):
        raise PoolError(f"{file.name} holds no texts, which the judge {options.judge} reads; use the judge probe.")


def means(runs: list[Run]) -> dict[str, float]:
    count = len(runs)
    return {
        "accuracy": round(sum(run.correct for run in runs) / count, 5),
        "total_tokens": round(sum(run.total_tokens for run in runs) / count, 1),
        "sequential_tokens": round(sum(run.sequential_tokens for run in runs) / count, 1),
        "probe_tokens": round(sum(run.probe_tokens for run in runs) / count, 1),
    }


def bench_pool(
    file: Path,
    options: PolicyOptions,
    reshuffles: int = 64,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """The policy, self-consistency at its n, and self-consistency at the k whose tokens are nearest; means a question.

    Raises:
        PoolError: the pool is malformed or lacks what the policy needs.
    """
    questions = read_pool(file)
    _check(file, questions, options)
    n = options.n

    def run(candidate: PolicyOptions, start: float) -> list[Run]:
        runs: list[Run] = []
        for i, question in enumerate(questions):
            shuffled = orders(question, i, n, reshuffles, seed)
            runs += [loop.run_until_complete(replay(candidate, question, order)) for order in shuffled]
            progress(start + (i + 1) / len(questions) / 3)
        return runs

    loop = asyncio.new_event_loop()
    try:
        measured = means(run(options, 0))
        baseline = means(run(SelfConsistencyOptions(n=n), 1 / 3))
        k = min(n, max(1, round(measured["total_tokens"] / (baseline["total_tokens"] / n))))
        equal = means(run(SelfConsistencyOptions(n=k), 2 / 3))
    finally:
        loop.close()
    return {
        "policy": options.policy,
        "options": options.model_dump(),
        "file": file.name,
        "n": n,
        "questions": len(questions),
        "reshuffles": reshuffles,
        **measured,
        "baseline": {"policy": "self_consistency", "n": n, **baseline},
        "equal_tokens_baseline": {"policy": "self_consistency", "n": k, **equal},
        "total_tokens_share": round(measured["total_tokens"] / baseline["total_tokens"], 4),
        "sequential_tokens_share": round(measured["sequential_tokens"] / baseline["sequential_tokens"], 4),
    }
