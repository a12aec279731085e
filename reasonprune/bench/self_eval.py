"""`reasonprune bench self-eval`: how well a model tells its right traces from its wrong ones, live; gain and cost."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from reasonprune.answers import MathChecker
from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.bench.drawn import SHARES, Cost, Drawn, Draws, Subject
from reasonprune.engine.upstream import Server, Upstream
from reasonprune.errors import PoolError, RequestError
from reasonprune.models import resolve
from reasonprune.parallel.votes import Ballot
from reasonprune.selfeval.measures import score_figures
from reasonprune.selfeval.score import SelfScore
from reasonprune.selfeval.trained import describe, find
from reasonprune.train.splits import question_digest

Kind = Literal["verbal", "adapter", "head"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SelfEvalBenchConfig:
    """A kind of self-evaluation of a model here or of a server elsewhere, and how traces are sampled for it.

    `folder`: of a trained adapter or head. `concurrency`: questions whose traces are sampled together; scores are
    taken one question at a time.
    """

    model: str | Server
    kind: Kind
    draws: Draws
    folder: Path | None = None
    concurrency: int = 4

    def check(self) -> None:
        """Raises RequestError: an option would have no effect, or cannot be had over HTTP."""
        if self.folder is not None and self.kind == "verbal":
            raise RequestError("--self-eval-model is for the kinds adapter and head; the kind is verbal.", "--kind")
        if isinstance(self.model, Server) and self.kind != "verbal":
            raise RequestError(
                f"--kind {self.kind} reads the model's states or weights, which --upstream does not give; use verbal.",
                "--kind",
            )


def kind_of(name: str) -> Kind:
    """Raises RequestError for what is no kind."""
    for kind in get_args(Kind):
        if name == kind:
            return kind
    raise RequestError(f"--kind {name}: expected one of {', '.join(get_args(Kind))}.", "--kind")


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
    folder = _folder(config)
    seen = set(describe(folder)["training"].get("seen", ())) if folder is not None else set()
    everything = read_dataset(data)
    questions = [q for q in everything if question_digest(q.question) not in seen]
    if not questions:
        raise PoolError(f"The {config.kind} was trained on all questions of {data.name}; use other data.")
    left_out, questions = len(everything) - len(questions), questions[:limit]
    drawn, cost = asyncio.run(_bench(questions, config, folder, progress))
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart
    return _report(config, drawn, cost) | {"left_out_as_trained_on": left_out}


def _folder(config: SelfEvalBenchConfig) -> Path | None:
    if isinstance(config.model, Server) or config.kind == "verbal":
        return None
    return find(resolve(config.model).path, config.kind, config.folder)


async def _bench(
    questions: Sequence[Question], config: SelfEvalBenchConfig, folder: Path | None, progress: Progress
) -> tuple[list[list[Drawn]], Cost]:
    with MathChecker() as checker:
        if isinstance(config.model, Server):
            from reasonprune.bench.drawn_by_upstream import UpstreamSubject

            async with Upstream(*config.model) as upstream:
                subject = UpstreamSubject(upstream, config.draws, checker)
                return await _measure(subject, questions, config.concurrency, progress)

        from reasonprune.bench.drawn_by_engine import EngineSubject
        from reasonprune.engine.offline import open_engine
        from reasonprune.engine.self_eval import load_head

        more: dict[str, Any] = {}
        if config.kind == "adapter" and folder is not None:
            more = {"enable_lora": True, "max_lora_rank": max(8, describe(folder)["spec"]["rank"])}
        async with open_engine(config.model, **more) as engine:
            if config.kind == "head" and folder is not None:
                await load_head(engine, folder)
            local = EngineSubject(engine, config.model, config.kind, config.draws, folder, checker)
            drawn, cost = await _measure(local, questions, config.concurrency, progress)
            if config.kind == "head":
                cost.step_ms = await local.step_ms()
            return drawn, cost


async def _measure(
    subject: Subject, questions: Sequence[Question], at_once: int, progress: Progress
) -> tuple[list[list[Drawn]], Cost]:
    cost, drawn = Cost(), []
    progress(0, len(questions))
    warm = await subject.draw(questions[0], -1, Cost())
    await subject.score(questions[0], -1, warm, Cost())
    for start in range(0, len(questions), at_once):
        block = list(enumerate(questions))[start : start + at_once]
        traces = await asyncio.gather(*(subject.draw(question, i, cost) for i, question in block))
        for (i, question), of_one in zip(block, traces, strict=True):
            await subject.score(question, i, of_one, cost)
            drawn.append(of_one)
        progress(start + len(block), len(questions))
    return drawn, cost


def _report(config: SelfEvalBenchConfig, drawn: Sequence[Sequence[Drawn]], cost: Cost) -> dict[str, Any]:
    numbers = [i for i, traces in enumerate(drawn) for _ in traces]
    right = [trace.right for traces in drawn for trace in traces]
    shares = {
        share: score_figures([_value(t.scores.get(share)) for traces in drawn for t in traces], right, numbers)
        for share in SHARES
    }
    whole, half = shares[1.0], shares[0.5]
    return {
        "model": config.model.model or "the server's first" if isinstance(config.model, Server) else config.model,
        "kind": config.kind,
        "n": config.draws.n,
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
            "temperature": config.draws.temperature,
            "top_p": config.draws.top_p,
            "max_tokens": config.draws.max_tokens,
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
