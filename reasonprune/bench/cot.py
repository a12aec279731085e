"""`reasonprune bench cot`: does a model still give the answer of a chain of thought when steps are left out of it?"""

from __future__ import annotations

import asyncio
import gc
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasonprune.answers import AnswerClasses, MathChecker
from reasonprune.bench.cot_examples import Example, example_of, states, withheld
from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.bench.record import PROBE_TOKENS, RecordConfig, record_with, recorded_rows
from reasonprune.bench.sampling import sampling_of
from reasonprune.cot.compressor import METHODS, Method, compress
from reasonprune.cot.scores import fingerprint
from reasonprune.cot.steps import split_steps
from reasonprune.errors import PoolError, RequestError

Progress = Callable[[str, int, int], None]
CHUNK = 64  # questions whose answers are under way together


@dataclass(frozen=True)
class CotConfig:
    """`withhold`: measure also with every chain cut before the step that first states its answer."""

    model: str
    budgets: tuple[float, ...]
    methods: tuple[Method, ...]
    max_tokens: int = 400
    concurrency: int = 16
    seed: int = 0
    withhold: bool = False


@dataclass
class Cell:
    """One method at one budget, summed over the examples."""

    kept_tokens: int = 0
    tokens: int = 0
    shares: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    agree: list[bool] = field(default_factory=list)
    correct_agree: list[bool] = field(default_factory=list)
    states: list[bool] = field(default_factory=list)
    met: list[bool] = field(default_factory=list)

    def as_json(self) -> dict[str, float | int | None]:
        return {
            "kept": round(self.kept_tokens / self.tokens, 4),
            "accuracy": _share(self.right),
            "agreement": _share(self.agree),
            "agreement_where_correct": _share(self.correct_agree),
            "answer_still_stated": _share(self.states),
            "budget_met": _share(self.met),
        }


def _share(flags: list[bool]) -> float | None:
    return round(sum(flags) / len(flags), 4) if flags else None


def parse_budgets(text: str) -> tuple[float, ...]:
    """`0.3,0.5` as numbers. Raises RequestError naming the budget that is none."""
    budgets = []
    for part in text.split(","):
        try:
            budget = float(part)
        except ValueError:
            raise RequestError(f"--budget {text}: {part!r} is not a number; write them as 0.3,0.5.", "budget") from None
        if not 0 < budget <= 1:
            raise RequestError(f"--budget {text}: {part} is not a share of tokens above 0 and at most 1.", "budget")
        budgets.append(budget)
    return tuple(budgets)


def parse_methods(text: str) -> tuple[Method, ...]:
    """`asap,random` as methods. Raises RequestError naming the one that does not exist."""
    asked = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [name for name in asked if name not in METHODS]:
        raise RequestError(
            f"--methods {text}: {unknown[0]!r} is not a method. Methods: {', '.join(METHODS)}.", "methods"
        )
    return tuple(method for method in METHODS if method in asked)


def bench_cot(
    data: Path, config: CotConfig, limit: int | None, chains: Path | None, progress: Progress
) -> dict[str, Any]:
    """Kept tokens, accuracy and agreement of every method at every budget, on chains that the model wrote itself.

    `data`: questions with answers, for which chains are recorded first (greedy; kept in `chains`, to go on after an
    interruption and to use them again), or a pool of `reasonprune record`, whose chains are taken as they are. Used are
    the questions that the model answers: the first trace of a question that ended by itself with the right answer, else
    with any. Token log-probabilities come from the recording.

    Raises PoolError where no question is answered, ScoreError where another tokenizer recorded the log-probabilities.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(_bench(data, config, limit, chains or Path(folder) / "chains.jsonl", progress))
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart
    return result


def _is_pool(data: Path) -> bool:
    try:
        with data.open(encoding="utf-8") as file:
            first = json.loads(file.readline())
    except (OSError, ValueError):
        return False  # reading the dataset words the error
    return isinstance(first, dict) and "traces" in first


async def _bench(data: Path, config: CotConfig, limit: int | None, chains: Path, progress: Progress) -> dict[str, Any]:
    from reasonprune.engine.offline import open_engine

    recorded = recorded_rows(data, limit) if _is_pool(data) else None
    questions = [] if recorded is not None else read_dataset(data, limit)
    async with open_engine(config.model) as engine:
        rows = recorded or await _record(engine, questions, config, chains, progress)
        return await measure_chains(engine, rows, config, progress)


async def _record(
    engine: Any, questions: list[Question], config: CotConfig, chains: Path, progress: Progress
) -> list[dict[str, Any]]:
    """One greedy chain for each question, as `reasonprune record --n 1 --temperature 0` would record it."""
    sampling = sampling_of(config.model, 0.0, None)
    record = RecordConfig(config.model, 1, *sampling, config.max_tokens, 0, config.seed, config.concurrency)
    await record_with(engine, questions, record, chains, lambda done, total: progress("recording", done, total))
    rows = {row["question"]: row for row in recorded_rows(chains, None)}
    return [rows[question.question] for question in questions]


async def measure_chains(
    engine: Any, rows: list[dict[str, Any]], config: CotConfig, progress: Progress
) -> dict[str, Any]:
    """`bench_cot` for recorded questions on an engine that runs already."""
    tokenizer = engine.get_tokenizer()
    name = fingerprint(tokenizer)
    with MathChecker() as checker:
        examples = [found for row in rows if (found := example_of(row, tokenizer, name, checker))]
        if not examples:
            raise PoolError(
                f"None of the {len(rows)} chains can be used: the model must end its reasoning with an answer within"
                " the recorded length. Record with a larger --max-tokens, or more questions."
            )
        whole = await _measure(engine, checker, examples, config, "answering", progress)
        result = {"model": config.model, "questions": len(rows), "scored_by": "recorded", **whole}
        if config.withhold:
            cut = [short for example in examples if (short := withheld(example))]
            result["withheld"] = await _measure(engine, checker, cut, config, "answering, cut", progress)
    return result


async def _measure(
    engine: Any,
    checker: MathChecker,
    examples: list[Example],
    config: CotConfig,
    what: str,
    progress: Progress,
) -> dict[str, Any]:
    from reasonprune.engine.probe import Prober

    tokenizer = engine.get_tokenizer()
    prober = Prober.of(tokenizer, PROBE_TOKENS)
    gate = asyncio.Semaphore(config.concurrency)
    cells = {(method, budget): Cell() for method in config.methods for budget in config.budgets}
    correct = 0

    async def answered(example: Example, text: str, name: str) -> str | None:
        written = example.opening + text
        ids = tokenizer.encode(written, add_special_tokens=False)
        async with gate:
            forced = await prober.force(engine, {"prompt_token_ids": list(example.prompt)}, ids, written, name, {})
        return forced.answer

    async def one(number: int, example: Example) -> None:
        nonlocal correct
        classes = AnswerClasses(checker)
        gold, full = await classes.add_async(example.gold), await classes.add_async(example.answer)
        correct += gold == full
        found = {
            (method, budget): compress(
                example.chain, example.scores, budget, method, config.seed + number, _route(example, method)
            )
            for method, budget in cells
        }
        texts = list(dict.fromkeys(result.text for result in found.values()))
        names = [f"{what}-{number}-{index}" for index in range(len(texts))]
        given = await asyncio.gather(*(answered(example, *pair) for pair in zip(texts, names, strict=True)))
        answers = dict(zip(texts, given, strict=True))
        for key, result in found.items():
            answer = answers[result.text]
            same = await classes.add_async(answer) if answer is not None else None
            cell = cells[key]
            cell.kept_tokens += result.kept_tokens
            cell.tokens += result.tokens
            cell.right.append(same == gold)
            cell.agree.append(same == full)
            if gold == full:
                cell.correct_agree.append(same == full)
            cell.states.append(states(result.text, example.answer))
            cell.met.append(result.met)

    for start in range(0, len(examples), CHUNK):
        part = examples[start : start + CHUNK]
        await asyncio.gather(*(one(start + i, example) for i, example in enumerate(part)))
        progress(what, start + len(part), len(examples))
    methods: dict[str, dict[str, Any]] = {method: {} for method in config.methods}
    for (method, budget), cell in cells.items():
        methods[method][f"{budget:g}"] = cell.as_json()
    steps = [len(split_steps(example.chain.text)) for example in examples]
    return {
        "chains": len(examples),
        "chains_correct": correct,
        "chain_tokens": round(sum(len(e.scores.starts) for e in examples) / max(1, len(examples)), 1),
        "chain_steps": round(sum(steps) / max(1, len(steps)), 1),
        "methods": methods,
    }


def _route(example: Example, method: Method) -> frozenset[int] | None:
    return example.route if method == "asap" else None
