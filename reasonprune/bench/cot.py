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

from reasonprune.answers import AnswerClasses, MathChecker, canonical, extract_answer
from reasonprune.bench.dataset import read_dataset
from reasonprune.bench.record import PROBE_TOKENS, RecordConfig, record_with, recorded_rows
from reasonprune.cot.compressor import METHODS, Chain, Method, candidates, compress
from reasonprune.cot.located import locate, token_starts
from reasonprune.cot.route import numbers, results, route_to
from reasonprune.cot.scores import TokenScores, check_fingerprint, fingerprint
from reasonprune.cot.steps import split_steps
from reasonprune.errors import PoolError, RequestError

CHUNK = 64  # questions whose answers are under way together


@dataclass(frozen=True)
class CotConfig:
    """`withhold`: cut every chain before the step that first states its answer, so that it must be worked out."""

    model: str
    budgets: tuple[float, ...]
    methods: tuple[Method, ...]
    max_tokens: int = 400
    concurrency: int = 16
    seed: int = 0
    withhold: bool = False


@dataclass(frozen=True)
class Example:
    """A question with its full chain; `prompt` are the tokens before the chain, `answer` is what the chain answers."""

    question: str
    gold: str
    answer: str
    prompt: tuple[int, ...]
    chain: Chain
    scores: TokenScores
    opening: str
    route: frozenset[int] | None = None


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
    data: Path, config: CotConfig, limit: int | None, chains: Path | None, progress: Callable[[str, int, int], None]
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


async def _bench(
    data: Path, config: CotConfig, limit: int | None, chains: Path, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    from reasonprune.engine.offline import open_engine

    pool = _is_pool(data)
    questions = [] if pool else read_dataset(data, limit)
    async with open_engine(config.model) as engine:
        with MathChecker() as checker:
            if pool:
                rows = recorded_rows(data, limit)
            else:
                record = RecordConfig(config.model, 1, 0.0, 1.0, config.max_tokens, 0, config.seed, config.concurrency)
                await record_with(
                    engine, questions, record, chains, lambda done, total: progress("recording", done, total)
                )
                wanted = {question.question for question in questions}
                rows = [row for row in recorded_rows(chains, None) if row["question"] in wanted]
            examples = [found for row in rows if (found := _example(engine.get_tokenizer(), row, checker))]
            if config.withhold:
                examples = [cut for example in examples if (cut := _withheld(example))]
            if not examples:
                raise PoolError(
                    f"{data}: none of {len(rows)} chains can be used. The model must end its reasoning with an answer"
                    " within the recorded length; record with a larger --max-tokens, or more questions."
                )
            return await _measure(engine, checker, examples, len(rows), config, progress)


def _example(tokenizer: Any, row: dict[str, Any], checker: MathChecker) -> Example | None:
    """The example of a recorded question; None where no trace of it ended with an answer."""
    classes = AnswerClasses(checker)
    gold = classes.add(row["gold"])
    ended = [t for t in row["traces"] if t["finish_reason"] == "stop" and extract_answer(t["text"]) is not None]
    ended.sort(key=lambda t: classes.add(extract_answer(t["text"]) or "") != gold)  # stable: the first right one
    if not ended:
        return None
    trace = ended[0]
    check_fingerprint(row.get("tokenizer"), fingerprint(tokenizer), f"the chain of {row['question'][:40]!r}")
    text = trace["text"]
    found = locate(text)
    starts = token_starts(tokenizer, trace["token_ids"], text)
    if starts is None or found.start == found.end:
        return None
    inside = [
        (start, p) for start, p in zip(starts, trace["logprobs"], strict=False) if found.start <= start < found.end
    ]
    scores = TokenScores(tuple(start - found.start for start, _ in inside), tuple(p for _, p in inside), "recorded")
    return Example(
        question=row["question"],
        gold=row["gold"],
        answer=extract_answer(text) or "",
        prompt=tuple(row["prompt_token_ids"]),
        chain=Chain(text[found.start : found.end], row["question"], found.anchor),
        scores=scores,
        opening=text[: found.start],
    )


def states(text: str, answer: str) -> bool:
    """Whether `answer` stands in `text`, as a number where it is one."""
    form = canonical(answer).lstrip("-")
    return form in numbers(text) or (not form[:1].isdigit() and answer in text)


def _withheld(example: Example) -> Example | None:
    """The chain before the step that first states the answer; None where fewer than two steps are left of it."""
    text, answer = example.chain.text, canonical(example.answer).lstrip("-")
    steps = split_steps(text)
    given = answer in numbers(example.question)

    def says(part: str) -> bool:
        return answer in results(part) or (not given and states(part, example.answer))

    index = next((i for i, step in enumerate(steps) if says(text[step.start : step.end])), 0)
    cut = steps[index].start
    if index < 2 or len(split_steps(text[:cut])) != index:
        return None
    route = route_to(text, steps, example.chain.anchor, example.question)
    count = sum(start < cut for start in example.scores.starts)
    return Example(
        question=example.question,
        gold=example.gold,
        answer=example.answer,
        prompt=example.prompt,
        chain=Chain(text[:cut].rstrip(), example.question, example.chain.anchor),
        scores=TokenScores(example.scores.starts[:count], example.scores.logprobs[:count], "recorded"),
        opening=example.opening,
        route=frozenset(i for i in route if i < index),
    )


async def _measure(
    engine: Any,
    checker: MathChecker,
    examples: list[Example],
    asked: int,
    config: CotConfig,
    progress: Callable[[str, int, int], None],
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
        names = [f"cot-{number}-{index}" for index in range(len(texts))]
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
        progress("answering", start + len(part), len(examples))
    methods: dict[str, dict[str, Any]] = {method: {} for method in config.methods}
    for (method, budget), cell in cells.items():
        methods[method][f"{budget:g}"] = cell.as_json()
    steps = [len(candidates(e.chain, e.scores, "none").steps) for e in examples]
    return {
        "model": config.model,
        "questions": asked,
        "chains": len(examples),
        "chains_correct": correct,
        "chain_tokens": round(sum(len(e.scores.starts) for e in examples) / len(examples), 1),
        "chain_steps": round(sum(steps) / len(steps), 1),
        "withheld": config.withhold,
        "scored_by": "recorded",
        "methods": methods,
    }


def _route(example: Example, method: Method) -> frozenset[int] | None:
    return example.route if method == "asap" else None
