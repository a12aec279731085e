"""`reasonprune bench depth`: a layer program beside full depth through our classes and vLLM's own class, in one run."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasonprune.answers import AnswerClasses, MathChecker
from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.depth.program import LayerProgram
from reasonprune.depth.questions import Asked, answer_of, ask, gold_of

BATCH = 8
SPEED_TOKENS = 64
SIDES = ("program", "full", "plain", "mixed")


@dataclass(frozen=True)
class DepthConfig:
    """`program`: layers, a name of the bank, or `auto`, which the router decides for each question."""

    model: str
    program: str
    bank: Path | None = None
    router: Path | None = None
    max_tokens: int = 512
    dtype: str = "auto"
    rounds: int = 7


@dataclass
class Score:
    """Of one side, over all questions."""

    right: int = 0
    tokens: int = 0
    layer_runs: int = 0
    speeds: list[float] = field(default_factory=list)

    def as_json(self, questions: int) -> dict[str, float]:
        return {
            "accuracy": round(self.right / questions, 5),
            "layers": round(self.layer_runs / max(1, self.tokens), 3),
            "tokens_per_s": round(statistics.median(self.speeds), 2),
        }


def bench_depth(
    data: Path, config: DepthConfig, limit: int | None, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Accuracy, mean layers a token, and decoding speed in batches of eight.

    Greedy. Speed: the median of rounds in which eight requests decode a fixed number of tokens each; all sides take
    turns, so that what else the machine does falls on all of them. `mixed` is a batch of which half runs the program
    and half full depth, beside the mean of the two uniform speeds, and beside the token-weighted one: half of the
    tokens at either speed, one after the other.
    """
    questions = read_dataset(data, limit)
    result = asyncio.run(_bench(questions, config, progress))
    gc.collect()  # vLLM's engines must be gone before the interpreter takes its modules apart
    return result


async def _bench(questions: list[Question], config: DepthConfig, progress: Callable[[int, int], None]) -> Any:
    from reasonprune.engine.offline import open_engine

    limits = {"kv_cache_memory_bytes": 1 << 30, "max_model_len": 4096, "dtype": config.dtype}
    blocks = [questions[at : at + BATCH] for at in range(0, len(questions), BATCH)]
    total, done = len(blocks) + config.rounds, 0
    scores = {side: Score() for side in SIDES}
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(open_engine(config.model, **_fitting(config.model, limits)))
        plain = await stack.enter_async_context(open_engine(config.model, plain=True, **_fitting(config.model, limits)))
        checker = stack.enter_context(MathChecker())
        bench = _Bench(ours, plain, config, AnswerClasses(checker), scores)
        progress(0, total)
        for number, block in enumerate(blocks):
            await bench.answer(block, number)
            progress(done := done + 1, total)
        await bench.speed(questions, -1)  # warm-up
        for score in scores.values():
            score.speeds.clear()
        for number in range(config.rounds):
            await bench.speed(questions, number)
            progress(done := done + 1, total)
    return _result(bench, len(questions))


def _fitting(model: str, limits: dict[str, Any]) -> dict[str, Any]:
    """The model's own context length where it is shorter than the usual limit."""
    import json

    from reasonprune.models import resolve

    file = Path(resolve(model).path) / "config.json"
    own = json.loads(file.read_text(encoding="utf-8")).get("max_position_embeddings") if file.is_file() else None
    return {**limits, "max_model_len": min(limits["max_model_len"], own or limits["max_model_len"])}


class _Bench:
    """The two engines, and what was counted on them."""

    def __init__(
        self, ours: Any, plain: Any, config: DepthConfig, classes: AnswerClasses, scores: dict[str, Score]
    ) -> None:
        from reasonprune.depth.choice import Programs
        from reasonprune.depth.support import support_of
        from reasonprune.options import DepthOptions, ServerOptions

        files = ServerOptions(
            depth_bank=str(config.bank) if config.bank else None,
            depth_router=str(config.router) if config.router else None,
        )
        self.programs = Programs.of(support_of(ours.vllm_config), files)
        self.choice = self.programs.choose(DepthOptions(program=config.program), parallel=False)
        self.not_applied = self.programs.support.reason or self.programs.missing(self.choice)
        self.full = LayerProgram.full(self.programs.support.layers)
        self._engines = {"program": ours, "full": ours, "mixed": ours, "plain": plain}
        self._config, self._classes, self.scores = config, classes, scores
        self._count = 0

    def program_of(self, asked: Asked) -> LayerProgram:
        if self.not_applied:
            return self.full
        return self.programs.routed(self.choice, asked.prompt["prompt_token_ids"])[0][0]

    async def answer(self, block: Sequence[Question], number: int) -> None:
        """Every side but the mixed one answers the block, in turn."""
        sides = ("program", "full", "plain")
        for side in sides[number % 3 :] + sides[: number % 3]:
            asked = [ask(self._engines[side], q, self._config.model, self._config.max_tokens) for q in block]
            programs = [self.program_of(a) if side == "program" else self.full for a in asked]
            outputs = await asyncio.gather(
                *(self._run(side, a.prompt, p, a.tokens) for a, p in zip(asked, programs, strict=True))
            )
            score = self.scores[side]
            for a, p, output in zip(asked, programs, outputs, strict=True):
                score.right += answer_of(a, output.text, self._classes) == gold_of(a, self._classes)
                score.tokens += len(output.token_ids)
                score.layer_runs += p.cost * len(output.token_ids)

    async def speed(self, questions: Sequence[Question], number: int) -> None:
        """One round of decoding at a fixed length, every side in turn."""
        chosen = [questions[i % len(questions)] for i in range(BATCH)]
        for side in SIDES[number % len(SIDES) :] + SIDES[: number % len(SIDES)]:
            asked = [ask(self._engines[side], q, self._config.model, self._config.max_tokens) for q in chosen]
            programs = [
                self.program_of(a) if side == "program" or (side == "mixed" and i % 2) else self.full
                for i, a in enumerate(asked)
            ]
            began = time.perf_counter()
            await asyncio.gather(
                *(
                    self._run(side, a.prompt, p, SPEED_TOKENS, ignore_eos=True)
                    for a, p in zip(asked, programs, strict=True)
                )
            )
            self.scores[side].speeds.append(BATCH * SPEED_TOKENS / (time.perf_counter() - began))

    async def _run(self, side: str, prompt: Any, program: LayerProgram, tokens: int, **more: Any) -> Any:
        from reasonprune.depth.request import ProgrammedEngine
        from reasonprune.engine.offline import sampling

        engine = self._engines[side]
        if not program.is_full(self.full.cost):
            engine = ProgrammedEngine(engine, program)
        self._count += 1
        final = None
        async for output in engine.generate(prompt, sampling(0, 1, tokens, None, **more), f"{side}-{self._count}"):
            final = output.outputs[0]
        assert final is not None, "the engine ends every request with an output"
        return final


def _result(bench: _Bench, questions: int) -> dict[str, Any]:
    scores = {side: score.as_json(questions) for side, score in bench.scores.items()}
    program, full, plain = (bench.scores[side].speeds for side in ("program", "full", "plain"))
    mixed = bench.scores["mixed"].speeds
    text = bench._config.program
    return {
        "program": text,
        **({"not_applied": bench.not_applied} if bench.not_applied else {}),
        "model_layers": bench.full.cost,
        "questions": questions,
        **scores["program"],
        "full": scores["full"],
        "plain": scores["plain"],
        "mixed": {
            "tokens_per_s": scores["mixed"]["tokens_per_s"],
            "of_mean": _ratio(mixed, [(a + b) / 2 for a, b in zip(program, full, strict=True)]),
            "of_token_weighted_mean": _ratio(mixed, [2 / (1 / a + 1 / b) for a, b in zip(program, full, strict=True)]),
        },
        "speed": {
            "batch": BATCH,
            "tokens": SPEED_TOKENS,
            "rounds": len(full),
            "program_to_full": _ratio(program, full),
            "full_to_plain": _ratio(full, plain),
        },
    }


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over the rounds of the ratio within a round."""
    return round(statistics.median(a / b for a, b in zip(above, below, strict=True)), 4)
