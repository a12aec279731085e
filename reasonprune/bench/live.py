"""`reasonprune bench parallel`: a policy live on vLLM, in turn with self-consistency, question by question."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasonprune.answers import AnswerClasses, MathChecker
from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.options import ParallelProbeOptions, PolicyOptions, SelfConsistencyOptions
from reasonprune.parallel.driver import Driver
from reasonprune.parallel.policies import build


@dataclass(frozen=True)
class LiveConfig:
    """How a live run samples; `concurrency`: questions under way at once."""

    model: str
    options: PolicyOptions
    temperature: float
    top_p: float
    max_tokens: int
    concurrency: int
    seed: int


@dataclass
class Tally:
    """Sums over questions; seconds are wall-clock, from the first token asked for to the answer."""

    correct: int = 0
    tokens: int = 0
    probe_tokens: int = 0
    sequential: int = 0
    seconds: float = 0.0
    started: int = 0
    correct_by_question: dict[int, bool] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        count = len(self.correct_by_question)
        return {
            "accuracy": round(self.correct / count, 5),
            "total_tokens": round(self.tokens / count, 1),
            "sequential_tokens": round(self.sequential / count, 1),
            "probe_tokens": round(self.probe_tokens / count, 1),
            "traces_started": round(self.started / count, 2),
            "seconds": round(self.seconds, 2),
        }


def bench_live(
    data: Path, config: LiveConfig, limit: int | None, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Accuracy, tokens and wall-clock of the policy beside self-consistency at the same n, same questions, same run.

    With a concurrency of 1 `seconds` are latencies summed over questions; above it they are each question's own time
    under load. `sequential_tokens` is the longest trace that was waited for.
    """
    questions = read_dataset(data, limit)
    result = asyncio.run(_bench(questions, config, progress))
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart
    return result


async def _bench(questions: list[Question], config: LiveConfig, progress: Callable[[int, int], None]) -> dict[str, Any]:
    from reasonprune.engine.offline import open_engine

    baseline = SelfConsistencyOptions(n=config.options.n, answer=config.options.answer)
    tallies = {"policy": Tally(), "baseline": Tally()}
    progress(0, len(questions))
    gate = asyncio.Semaphore(config.concurrency)
    done = 0
    async with open_engine(config.model) as engine:
        with MathChecker() as checker:

            async def one(index: int, question: Question) -> None:
                nonlocal done
                async with gate:
                    order = [("policy", config.options), ("baseline", baseline)]
                    # Turn about, so that neither always finds the prompt in the prefix cache.
                    for name, options in order if index % 2 else reversed(order):
                        await _race(engine, checker, index, question, name, options, config, tallies[name])
                done += 1
                progress(done, len(questions))

            await one(-1, questions[0])  # the first requests of an engine pay for its warm-up
            for tally in tallies.values():
                tally.__init__()  # type: ignore[misc]
            done = 0
            async with asyncio.TaskGroup() as group:
                for index, question in enumerate(questions):
                    group.create_task(one(index, question))
    policy, plain = tallies["policy"].means(), tallies["baseline"].means()
    return {
        "policy": config.options.policy,
        "options": config.options.model_dump(),
        "n": config.options.n,
        "questions": len(questions),
        "sampling": {"temperature": config.temperature, "top_p": config.top_p, "max_tokens": config.max_tokens},
        "concurrency": config.concurrency,
        **policy,
        "baseline": {"policy": "self_consistency", "n": baseline.n, **plain},
        "total_tokens_share": round(policy["total_tokens"] / plain["total_tokens"], 4),
        "seconds_share": round(policy["seconds"] / plain["seconds"], 4),
    }


async def _race(
    engine: Any,
    checker: MathChecker,
    index: int,
    question: Question,
    name: str,
    options: PolicyOptions,
    config: LiveConfig,
    tally: Tally,
) -> None:
    from reasonprune.engine.live import LiveRace, RaceRequest
    from reasonprune.engine.offline import chat_prompt, sampling
    from reasonprune.engine.probe import Prober

    policy = build(options)
    prober = None
    if isinstance(options, ParallelProbeOptions):
        prober = Prober.of(engine.get_tokenizer(), options.probe_tokens)
    # The same seeds for both, so that trace i of the policy is trace i of the baseline.
    seed = config.seed + 1_000_003 * (index + 1)
    request = RaceRequest(
        prompt=chat_prompt(engine, question.question, config.model),
        params=sampling(config.temperature, config.top_p, config.max_tokens, seed),
        request_id=f"{name}-{index}",
        generate_options={},
        answer=options.answer,
        prober=prober,
    )
    classes = AnswerClasses(checker)
    gold = classes.add(question.gold)
    race = LiveRace(engine, request, policy.signals, classes)
    began = time.perf_counter()
    try:
        outcome = await Driver(policy, race).run()
        if not outcome.decision.forced:
            await race.ended(outcome.kept[0])
        seconds = time.perf_counter() - began
        await race.settled()
    finally:
        await race.close()
    answer = outcome.decision.answer
    tally.correct += answer == gold
    tally.correct_by_question[index] = answer == gold
    tally.tokens += sum(race.tokens(trace) for trace in outcome.traces) + race.probe_tokens
    tally.probe_tokens += race.probe_tokens
    tally.sequential += max(race.tokens(trace) for trace in outcome.traces)
    tally.started += len(outcome.traces)
    tally.seconds += seconds
