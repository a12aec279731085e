"""`reasonprune bench self-eval`: how well a model tells its right traces from its wrong ones, live; gain and cost."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from reasonprune.answers import AnswerClasses, MathChecker, extract_answer
from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.errors import PoolError, RequestError
from reasonprune.judges.snapshot import Snapshot
from reasonprune.models import resolve
from reasonprune.parallel.votes import Ballot
from reasonprune.selfeval.measures import score_figures
from reasonprune.selfeval.score import SelfScore
from reasonprune.selfeval.trained import describe, find
from reasonprune.train.splits import question_digest

Kind = Literal["verbal", "adapter", "head"]
SHARES = (0.25, 0.5, 0.75, 1.0)
AT_ONCE = 4  # questions whose traces are sampled together; checks are timed alone
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SelfEvalBenchConfig:
    """A kind of self-evaluation, and how traces are sampled for it. `folder`: of a trained adapter or head."""

    model: str
    kind: Kind
    n: int
    temperature: float
    top_p: float
    max_tokens: int
    folder: Path | None = None
    seed: int = 0

    def check(self) -> None:
        """Raises RequestError: an option would have no effect."""
        if self.folder is not None and self.kind == "verbal":
            raise RequestError("--self-eval-model is for the kinds adapter and head; the kind is verbal.", "--kind")


def kind_of(name: str) -> Kind:
    """Raises RequestError for what is no kind."""
    for kind in get_args(Kind):
        if name == kind:
            return kind
    raise RequestError(f"--kind {name}: expected one of {', '.join(get_args(Kind))}.", "--kind")


@dataclass
class Drawn:
    """One trace: its tokens, its text, and what was made of its answer; `scores` at each of SHARES."""

    token_ids: tuple[int, ...]
    text: str
    answer: str | None
    right: bool
    scores: dict[float, SelfScore | None] = field(default_factory=dict)

    def cut(self, share: float) -> int:
        return max(1, min(len(self.token_ids) - 1, round(len(self.token_ids) * share)))


@dataclass
class Cost:
    """Of all checks: their number, tokens and wall-clock; `step_ms` is what the value head took inside the steps."""

    checks: int = 0
    ms: float = 0.0
    generated: int = 0
    prompted: int = 0
    step_ms: float = 0.0
    sampled_tokens: int = 0


def bench_self_eval(
    data: Path, config: SelfEvalBenchConfig, limit: int | None, progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """AUROC over all traces and within questions at shares of the traces' lengths, accuracies at n, cost of a check.

    `data` is a dataset; of a recorded pool the questions are taken, and traces are drawn anew. Questions that the
    adapter or head was trained on are left out.

    Raises:
        PoolError: the data cannot be used, or the trained one has seen all of it.
        ModelError: there is no adapter or head for this model, or the one named is for another.
    """
    config.check()
    path = resolve(config.model).path
    folder = None if config.kind == "verbal" else find(path, config.kind, config.folder)
    seen = set(describe(folder)["training"].get("seen", ())) if folder is not None else set()
    everything = read_dataset(data)
    questions = [q for q in everything if question_digest(q.question) not in seen]
    if not questions:
        raise PoolError(f"The {config.kind} was trained on all questions of {data.name}; use other data.")
    left_out, questions = len(everything) - len(questions), questions[:limit]
    drawn, cost = asyncio.run(_bench(questions, config, folder, progress))
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart
    return _report(config, drawn, cost) | {"left_out_as_trained_on": left_out}


async def _bench(
    questions: Sequence[Question], config: SelfEvalBenchConfig, folder: Path | None, progress: Progress
) -> tuple[list[list[Drawn]], Cost]:
    from reasonprune.engine.offline import open_engine
    from reasonprune.engine.self_eval import load_head

    more: dict[str, Any] = {}
    if config.kind == "adapter" and folder is not None:
        more = {"enable_lora": True, "max_lora_rank": max(8, describe(folder)["spec"]["rank"])}
    cost, drawn = Cost(), []
    progress(0, len(questions))
    async with open_engine(config.model, **more) as engine:
        if config.kind == "head" and folder is not None:
            await load_head(engine, folder)
        with MathChecker() as checker:
            warm = await _draw(engine, checker, questions[0], -1, config, Cost())
            await _score(engine, questions[0], -1, warm, config, folder, Cost())
            for start in range(0, len(questions), AT_ONCE):
                block = list(enumerate(questions))[start : start + AT_ONCE]
                traces = await asyncio.gather(*(_draw(engine, checker, q, i, config, cost) for i, q in block))
                for (i, question), of_one in zip(block, traces, strict=True):
                    await _score(engine, question, i, of_one, config, folder, cost)
                    drawn.append(of_one)
                progress(start + len(block), len(questions))
        if config.kind == "head":
            _, cost.step_ms = (await engine.collective_rpc("fetch_values", args=([],)))[0]
    return drawn, cost


async def _draw(
    engine: Any, checker: MathChecker, question: Question, index: int, config: SelfEvalBenchConfig, cost: Cost
) -> list[Drawn]:
    """`n` traces of one question."""
    from reasonprune.engine.offline import chat_prompt, sampling
    from reasonprune.engine.self_eval import marked

    prompt = chat_prompt(engine, question.question, config.model)
    classes = AnswerClasses(checker)
    gold = classes.add(question.gold)

    async def one(k: int) -> Drawn:
        seed = config.seed + 1_000_003 * (index + 1) + k
        params = sampling(config.temperature, config.top_p, config.max_tokens, seed)
        if config.kind == "head":
            params = marked(params, _name(index, k), 1)
        final = None
        async for output in engine.generate(prompt, params, _name(index, k)):
            final = output.outputs[0]
        assert final is not None, "the engine ends every request with an output"
        cost.sampled_tokens += len(final.token_ids)
        found = extract_answer(final.text) if final.finish_reason == "stop" else None
        answer = await classes.add_async(found) if found is not None else None
        return Drawn(tuple(final.token_ids), final.text, answer, answer is not None and answer == gold)

    return list(await asyncio.gather(*(one(k) for k in range(config.n))))


def _name(index: int, k: int) -> str:
    return f"self-eval-{index}-{k}"


async def _score(
    engine: Any,
    question: Question,
    index: int,
    traces: Sequence[Drawn],
    config: SelfEvalBenchConfig,
    folder: Path | None,
    cost: Cost,
) -> None:
    """Scores all traces at each share, the traces side by side; nothing else runs on the engine meanwhile."""
    from reasonprune.engine.offline import chat_prompt
    from reasonprune.engine.self_eval import asking_evaluator

    if config.kind == "head":
        await _fetch(engine, index, traces, cost)
        return
    prompt = chat_prompt(engine, question.question, config.model)
    tokenizer = engine.get_tokenizer()
    for share in SHARES:
        evaluator = asking_evaluator(engine, prompt, f"self-eval-{index}-{share}", {}, folder)
        snapshots = []
        for k, trace in enumerate(traces):
            ids = trace.token_ids if share == 1 else trace.token_ids[: trace.cut(share)]
            snapshots.append(Snapshot(k, len(ids), tokenizer.decode(ids), question.question, ids, share == 1))
        began = time.perf_counter()
        evaluation = await evaluator.evaluate(snapshots)
        cost.ms += (time.perf_counter() - began) * 1000
        cost.checks += len(snapshots)
        cost.generated += evaluation.generated
        cost.prompted += evaluation.prompted
        for trace, score in zip(traces, evaluation.scores, strict=True):
            trace.scores[share] = score


async def _fetch(engine: Any, index: int, traces: Sequence[Drawn], cost: Cost) -> None:
    """The head's scores, which it took while the traces were written."""
    names = [_name(index, k) for k in range(len(traces))]
    began = time.perf_counter()
    rows, _ = (await engine.collective_rpc("fetch_values", args=(names, True)))[0]
    cost.ms += (time.perf_counter() - began) * 1000
    cost.checks += len(traces)
    for trace, row in zip(traces, rows, strict=True):
        _, last, history = row or (0, None, [])
        by_tokens = {tokens: SelfScore(*value) for tokens, value in history}
        trace.scores = {share: by_tokens.get(trace.cut(share)) for share in SHARES}
        trace.scores[1.0] = SelfScore(*last) if last is not None else None


def _report(config: SelfEvalBenchConfig, drawn: Sequence[Sequence[Drawn]], cost: Cost) -> dict[str, Any]:
    numbers = [i for i, traces in enumerate(drawn) for _ in traces]
    right = [trace.right for traces in drawn for trace in traces]
    shares = {
        share: score_figures([_value(t.scores.get(share)) for traces in drawn for t in traces], right, numbers)
        for share in SHARES
    }
    whole, half = shares[1.0], shares[0.5]
    return {
        "model": config.model,
        "kind": config.kind,
        "n": config.n,
        "questions": len(drawn),
        "auroc_pooled": whole["auroc_pooled"],
        "auroc_within": whole["auroc_within"],
        "auroc_pooled_half": half["auroc_pooled"],
        "auroc_within_half": half["auroc_within"],
        "accuracy": {
            "one_sample": round(sum(right) / len(right), 5),
            **{name: round(sum(map(rule, drawn)) / len(drawn), 5) for name, rule in RULES.items()},
        },
        "check_ms": round(cost.ms / cost.checks, 3),
        "check_tokens": {
            "generated": round(cost.generated / cost.checks, 2),
            "read_beyond_the_cache": round(cost.prompted / cost.checks, 2),
        },
        **({"step_ms_per_trace": round(cost.step_ms / len(right), 3)} if config.kind == "head" else {}),
        "tokens_a_trace": round(cost.sampled_tokens / len(right), 1),
        "shares": {f"{share:g}": found for share, found in shares.items()},
        "sampling": {
            "temperature": config.temperature,
            "top_p": config.top_p,
            "max_tokens": config.max_tokens,
        },
    }


def _value(score: SelfScore | None) -> float:
    return score.value if score is not None and score.sound else math.nan


def _voted(traces: Sequence[Drawn], weighted: bool) -> bool:
    """Whether the answer with most votes is right; a score that is no number weighs one half."""
    ballot = Ballot()
    for k, trace in enumerate(traces):
        value = _value(trace.scores.get(1.0))
        ballot.add(k, trace.answer, (0.5 if math.isnan(value) else value) if weighted else 1.0)
    leader = next(iter(ballot.votes), None)
    return any(trace.right for trace in traces if trace.answer == leader)


def _selected(traces: Sequence[Drawn]) -> bool:
    """Whether the trace with the best score is right, among those that gave an answer."""
    values = [(_value(t.scores.get(1.0)), -k) for k, t in enumerate(traces) if t.answer is not None]
    sound = [(value, k) for value, k in values if not math.isnan(value)]
    return traces[-max(sound)[1]].right if sound else _voted(traces, weighted=False)


RULES: dict[str, Callable[[Sequence[Drawn]], bool]] = {
    "majority": lambda traces: _voted(traces, weighted=False),
    "selection": _selected,
    "weighted_majority": lambda traces: _voted(traces, weighted=True),
}
