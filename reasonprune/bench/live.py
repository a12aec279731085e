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
from reasonprune.parallel.driver import Driver
from reasonprune.parallel.policies import build
from reasonprune.policy_options import PolicyOptions, SelfConsistencyOptions


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
    """Sums over questions; seconds are wall-clock, blocks of questions one after the other."""

    correct: int = 0
    tokens: int = 0
    probe_tokens: int = 0
    sequential: int = 0
    seconds: float = 0.0
    judge_ms: float = 0.0
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
            "judge_ms": round(self.judge_ms / count, 2),
        }


Block = list[tuple[int, Question]]


def blocks(questions: list[Question], concurrency: int) -> list[Block]:
    """Numbered questions in blocks of one at a concurrency of 1, else of four times the concurrency."""
    numbered = list(enumerate(questions))
    size = 1 if concurrency == 1 else 4 * concurrency
    return [numbered[start : start + size] for start in range(0, len(numbered), size)]


def bench_live(
    data: Path, config: LiveConfig, limit: int | None, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Accuracy, tokens and wall-clock of the policy beside self-consistency at the same n, same questions, same run.

    Questions come in blocks that one side answers alone, then the other, `concurrency` questions at once: `seconds`
    are what a user waits at a concurrency of 1, and what a busy server takes above it. `sequential_tokens` is the
    longest trace that was waited for.
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
    options = {"policy": config.options, "baseline": baseline}
    async with open_engine(config.model) as engine:
        with MathChecker() as checker:

            async def answer(block: Block, name: str, tally: Tally) -> None:
                gate = asyncio.Semaphore(config.concurrency)

                async def one(index: int, question: Question) -> None:
                    async with gate:
                        await _race(engine, checker, index, question, name, options[name], config, tally)

                began = time.perf_counter()
                await asyncio.gather(*(one(index, question) for index, question in block))
                tally.seconds += time.perf_counter() - began

            for name in options:  # the first requests of an engine pay for its warm-up
                await answer([(-1, questions[0])], name, Tally())
            for number, block in enumerate(blocks(questions, config.concurrency)):
                # Turn about, so that neither always finds the prompt in the prefix cache.
                for name in options if number % 2 else reversed(options):
                    await answer(block, name, tallies[name])
                progress(block[-1][0] + 1, len(questions))
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
    from reasonprune.engine.self_eval import evaluator_of, prepare
    from reasonprune.engine.vllm import forcing, heated, judge_of

    options = heated(options, config.temperature)
    policy = build(options)
    # The same seeds for both, so that trace i of the policy is trace i of the baseline.
    seed = config.seed + 1_000_003 * (index + 1)
    prompt = chat_prompt(engine, question.question, config.model)
    request = RaceRequest(
        prompt=prompt,
        params=sampling(config.temperature, config.top_p, config.max_tokens, seed),
        request_id=f"{name}-{index}",
        generate_options={},
        answer=options.answer,
        **forcing(options, engine, prompt),
    )
    classes = AnswerClasses(checker)
    gold = classes.add(question.gold)
    evaluator = evaluator_of(options, engine, request, *await prepare(options, engine))
    race = LiveRace(engine, request, policy.signals, classes, judge_of(options, engine, request), evaluator)
    try:
        outcome = await Driver(policy, race).run()
        if not outcome.decision.forced:
            await race.ended(outcome.kept[0])
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
    tally.judge_ms += race.judging.ms
