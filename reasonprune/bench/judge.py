"""`reasonprune bench judge`: how well a judge tells apart recorded traces that end differently, at prefixes of them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from reasonprune.bench.judging import difficulty_oracle, figures
from reasonprune.engine.pool import RecordedQuestion
from reasonprune.engine.replay import RecordedForce
from reasonprune.errors import PoolError, RequestError
from reasonprune.judges.judge import PairJudge
from reasonprune.judges.probe import ProbeJudge
from reasonprune.train.pairs import Question, choose_pairs, cut_pairs, read_questions

JudgeName = Literal["encoder", "llm", "probe", "cosine"]
JudgeOf = Callable[[RecordedQuestion], PairJudge]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class JudgeConfig:
    """A judge, and the pairs it is asked about: the same for all judges at the same `shares`, `pairs` and `seed`.

    `head`: of the judge `encoder`, None for the shipped one. `model`: the judge `llm` itself, or the encoder of
    `cosine`. `unseen_by`: the folder of a head, whose training and validation questions are left out.
    """

    judge: JudgeName
    shares: tuple[float, ...] = (0.25, 0.5, 0.75)
    pairs: int = 40
    head: Path | None = None
    model: str | None = None
    limit: int | None = None
    unseen_by: Path | None = None
    seed: int = 0

    def check(self) -> None:
        """Raises RequestError: an option is missing, or would have no effect."""
        if self.judge == "llm" and self.model is None:
            raise RequestError("The judge llm is a served model; name it with --model.", "--model")
        if self.model is not None and self.judge not in ("llm", "cosine"):
            raise RequestError(f"--model is for the judges llm and cosine; the judge is {self.judge}.", "--model")
        if self.head is not None and self.judge != "encoder":
            raise RequestError(f"--head is for the judge encoder; the judge is {self.judge}.", "--head")


def judge_name(name: str) -> JudgeName:
    """Raises RequestError for what is no judge."""
    for known in get_args(JudgeName):
        if name == known:
            return known
    raise RequestError(f"--judge {name}: expected one of {', '.join(get_args(JudgeName))}.", "--judge")


@dataclass
class _Asked:
    """What a judge said at one share."""

    scores: list[float]
    seconds: float = 0.0
    generated: int = 0
    prompted: int = 0


def bench_judge(file: Path, config: JudgeConfig, progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Figures of `bench.judging` at each share of the traces' own tokens; the oracle's are the same at all of them.

    `ms_per_pair` includes the reading of the traces, each of which is in several pairs, and no loading of models.

    Raises:
        PoolError: the pool is malformed or lacks what the judge needs.
        RequestError: an option is missing, or would have no effect.
        ModelError: the model, or the folder of a head, cannot be used.
    """
    config.check()
    questions = _questions(file, config)
    pairs = [choose_pairs(question, config.pairs, config.seed) for question in questions]
    asked = asyncio.run(_ask(questions, pairs, config, progress))
    numbers = [number for number, chosen in enumerate(pairs) for _ in chosen]
    same = [
        pair.same for q, chosen in zip(questions, pairs, strict=True) for pair in cut_pairs(q, chosen, 0.5, "share")
    ]
    return {
        "judge": config.judge,
        "file": file.name,
        "model": config.model,
        "head": None if config.head is None else config.head.name,
        "unseen_by": None if config.unseen_by is None else config.unseen_by.name,
        "pairs_per_question": config.pairs,
        "prefix": {
            f"{share:g}": {
                **figures(found.scores, same, numbers),
                "ms_per_pair": round(1000 * found.seconds / len(same), 3),
                "generated_tokens": found.generated,
                "prompt_tokens": found.prompted,
            }
            for share, found in asked.items()
        },
        "oracle": figures(difficulty_oracle(same, numbers), same, numbers),
    }


def _questions(file: Path, config: JudgeConfig) -> list[Question]:
    questions = read_questions(file)
    if config.unseen_by is not None:
        from reasonprune.judges.head import describe

        seen = set(describe(config.unseen_by)["training"].get("seen", ()))
        questions = [question for question in questions if question.digest not in seen]
        if not questions:
            raise PoolError(f"The head in {config.unseen_by} was trained on all questions of {file.name}.")
    if config.judge == "probe" and not any(t.probes for q in questions for t in q.recorded.traces):
        raise PoolError(f"{file.name} holds no probes; record it with --probe-every.")
    return questions[: config.limit]


async def _ask(
    questions: Sequence[Question], pairs: Sequence[list[tuple[int, int]]], config: JudgeConfig, progress: Progress
) -> dict[float, _Asked]:
    asked = {share: _Asked([]) for share in config.shares}
    async with _judges(config) as judge_of:
        for number, (question, chosen) in enumerate(zip(questions, pairs, strict=True)):
            judge = judge_of(question.recorded)
            for share, found in asked.items():
                cut = [(pair.first, pair.second) for pair in cut_pairs(question, chosen, share, "share")]
                began = time.perf_counter()
                judgement = await judge.judge(cut)
                found.seconds += time.perf_counter() - began
                found.scores += judgement.similarities
                found.generated += judgement.generated
                found.prompted += judgement.prompted
            progress(number + 1, len(questions))
    return asked


@asynccontextmanager
async def _judges(config: JudgeConfig) -> AsyncIterator[JudgeOf]:
    """What makes a judge for one question, with its model loaded."""
    if config.judge == "probe":
        yield lambda question: ProbeJudge(RecordedForce(question.traces, 0))
    elif config.judge == "llm":
        async with _llm(str(config.model)) as judge_of:
            yield judge_of
    elif config.judge == "cosine":
        from reasonprune.judges.cosine import CosineJudge

        CosineJudge(config.model or "minilm").load()
        yield lambda question: CosineJudge(config.model or "minilm")
    else:
        from reasonprune.judges.encoder import EncoderJudge

        EncoderJudge(config.head).load()
        yield lambda question: EncoderJudge(config.head)


@asynccontextmanager
async def _llm(model: str) -> AsyncIterator[JudgeOf]:
    """On an engine of its own, asked about all pairs of a question at once."""
    from reasonprune.engine.offline import open_engine
    from reasonprune.engine.yes_no import yes_probability
    from reasonprune.judges.llm import LlmJudge

    numbers = itertools.count()
    async with open_engine(model) as engine:
        tokenizer = engine.get_tokenizer()

        async def score(text: str) -> tuple[float, int]:
            return await yes_probability(engine, tokenizer, text, f"judge-{next(numbers)}")

        yield lambda question: LlmJudge(score)
