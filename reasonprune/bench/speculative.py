"""Speculation measured: all methods on one engine, prompt by prompt in turn, with the outputs compared token by token.

One engine and a method by request, so that all see the same weights, kernels and disturbances. The prompt is in the
prefix cache before any method is timed. Methods do not see each other's outputs: each has its own recent responses.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reasonprune.bench.prompts import Prompt, read_prompts
from reasonprune.bench.provenance import portable
from reasonprune.depth.program import LayerProgram
from reasonprune.engine.chat import prompt_ids
from reasonprune.errors import RequestError
from reasonprune.speculative.acceptance import Acceptance
from reasonprune.speculative.wish import KEY, Wish

METHODS = {
    "base": Wish("off"),
    "ngram": Wish("ngram"),
    "suffix": Wish("suffix"),
    "draft": Wish("draft"),
    "retrieval": Wish("retrieval"),
    "rasd": Wish("rasd"),
}
IMPLEMENTATIONS = {
    "ngram": "vLLM's own function, matches of 2 to 4 tokens, drafts of 5",
    "suffix": "SuffixDecoding's rule on this project's structures",
}


@dataclass(frozen=True)
class SpeculativeConfig:
    """`longest`: most tokens of a draft; `concurrency`: prompts of one task that are answered at once."""

    model: str
    methods: tuple[str, ...]
    dtype: str = "auto"
    max_tokens: int = 128
    longest: int = 12
    concurrency: int = 1
    datastore: Path | None = None
    draft_model: str | None = None
    draft_layers: str | None = None
    engine: dict[str, Any] = field(default_factory=dict)


@dataclass
class Tally:
    """Of one method, over all prompts or those of a task. `seconds` are wall-clock, blocks one after the other."""

    tokens: int = 0
    seconds: float = 0.0
    outputs: int = 0
    identical: int = 0
    acceptance: Acceptance = field(default_factory=Acceptance)

    def as_json(self) -> dict[str, Any]:
        counted = self.acceptance
        return {
            "tokens_per_s": round(self.tokens / self.seconds, 2) if self.seconds else 0.0,
            "acceptance_length": round(counted.length, 3),
            "identical": round(self.identical / self.outputs, 4) if self.outputs else 0.0,
            "outputs": self.outputs,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 3),
            "drafted": dict(counted.drafted),
            "accepted": dict(counted.accepted),
            "accepted_at": counted.accepted_at,
        }


def methods_of(names: str, draft_model: str | None, draft_layers: str | None = None) -> tuple[str, ...]:
    """Methods from the command line, `base` first, since the others are compared with it."""
    if draft_model is not None and draft_layers is not None:
        raise RequestError("--draft-model and --draft-layers are two drafters; choose one.", "--draft-layers")
    if draft_layers is not None:
        try:
            LayerProgram.parse(draft_layers)
        except ValueError as error:
            raise RequestError(f"--draft-layers: {error}.", "--draft-layers") from None
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in METHODS:
            raise RequestError(f"--methods: '{name}' is not known. Methods: {', '.join(METHODS)}.", "--methods")
        if name == "draft" and draft_model is None and draft_layers is None:
            raise RequestError("--methods: 'draft' needs --draft-model or --draft-layers.", "--methods")
    return tuple(dict.fromkeys(["base", *chosen]))


def bench_speculative(
    data: Path, config: SpeculativeConfig, limit: int | None, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Tokens per second, acceptance length and identity with `base`, by method, and by task and method. Greedy."""
    prompts = read_prompts(data, limit)
    result = asyncio.run(_bench(prompts, config, progress))
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart
    return result


async def _bench(
    prompts: Sequence[Prompt], config: SpeculativeConfig, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    from reasonprune.engine.offline import open_engine

    totals = {name: Tally() for name in config.methods}
    tasks = {prompt.task: {name: Tally() for name in config.methods} for prompt in prompts}
    done = 0
    progress(0, len(prompts))
    async with open_engine(config.model, **_engine_arguments(config)) as engine:
        _check_layers(config, engine.vllm_config)
        runs = _Runs(engine, config)
        await runs.warm_up(prompts[0])
        for number, block in enumerate(_blocks(prompts, config.concurrency)):
            await runs.block(number, block, [totals, tasks[block[0].task]])
            done += len(block)
            progress(done, len(prompts))
        limits = {"max_model_len": engine.model_config.max_model_len, "dtype": str(engine.model_config.dtype)}
    return {
        "methods": {name: tally.as_json() for name, tally in totals.items()},
        "tasks": {
            task: {name: tally.as_json() for name, tally in tallies.items()} for task, tallies in sorted(tasks.items())
        },
        "implementations": {name: text for name, text in IMPLEMENTATIONS.items() if name in config.methods},
        "prompts": len(prompts),
        "concurrency": config.concurrency,
        "max_tokens": config.max_tokens,
        "longest_draft": config.longest,
        "datastore": config.datastore.name if config.datastore else None,
        "draft_model": portable(config.draft_model) if config.draft_model else None,
        "draft_layers": config.draft_layers,
        **limits,
    }


def _check_layers(config: SpeculativeConfig, vllm_config: Any) -> None:
    from reasonprune.depth.choice import Programs
    from reasonprune.depth.support import support_of

    if config.draft_layers is None:
        return
    support = support_of(vllm_config)
    if support.no_draft is not None:
        raise RequestError(f"--draft-layers: {support.no_draft}.", "--draft-layers")
    Programs(support).draft(config.draft_layers)


def _engine_arguments(config: SpeculativeConfig) -> dict[str, Any]:
    from reasonprune.models import resolve
    from reasonprune.speculative.engine_side import STORE_VARIABLE
    from reasonprune.speculative.proposer import CLASS_PATH

    os.environ.pop(STORE_VARIABLE, None)
    if config.datastore is not None:
        os.environ[STORE_VARIABLE] = str(config.datastore.resolve())
    speculation: dict[str, Any] = {"num_speculative_tokens": config.longest}
    if config.draft_model is None:
        speculation |= {"method": "custom_class", "model": CLASS_PATH}
    else:
        speculation |= {"method": "draft_model", "model": resolve(config.draft_model).path}
    return {
        "speculative_config": speculation,
        "dtype": config.dtype,
        "max_num_seqs": max(8, config.concurrency),
        "async_scheduling": False,
        **config.engine,
    }


def _blocks(prompts: Sequence[Prompt], size: int) -> list[list[Prompt]]:
    """Blocks of up to `size` prompts of the same task and number of turns, tasks in turn."""
    open_blocks: dict[tuple[str, int], list[Prompt]] = {}
    blocks = []
    for prompt in prompts:
        block = open_blocks.setdefault((prompt.task, len(prompt.turns)), [])
        block.append(prompt)
        if len(block) == size:
            blocks.append(open_blocks.pop((prompt.task, len(prompt.turns))))
    return blocks + list(open_blocks.values())


class _Runs:
    """One engine, and the requests made to it."""

    def __init__(self, engine: Any, config: SpeculativeConfig) -> None:
        self._engine = engine
        self._config = config
        self._tokenizer = engine.get_tokenizer()
        self._room = engine.model_config.max_model_len - config.max_tokens - 1

    async def warm_up(self, prompt: Prompt) -> None:
        """Twice each: the first requests pay for compilation and for the step times that the controller lacks."""
        for name in self._config.methods:
            for _ in range(2):
                await self._generate([self._prompt([("user", prompt.turns[0])])], name, f"warm-{name}")

    async def block(self, number: int, block: Sequence[Prompt], tallies: Sequence[dict[str, Tally]]) -> None:
        """All turns of all prompts of a block by every method; turns go on from what `base` answered."""
        histories: list[list[tuple[str, str]]] = [[] for _ in block]
        names = list(self._config.methods)
        # Turn about, so that no method always runs first.
        order = names[number % len(names) :] + names[: number % len(names)]
        for turn in range(len(block[0].turns)):
            for history, prompt in zip(histories, block, strict=True):
                history.append(("user", prompt.turns[turn]))
            prompts = [self._prompt(history) for history in histories]
            await self._generate(prompts, "base", f"cache-{number}-{turn}", max_tokens=1)
            outputs: dict[str, list[list[int]]] = {}
            for name in order:
                label = f"{name}-{number}-{turn}"
                outputs[name], seconds = await self._generate(prompts, name, label)
                (counts,) = await self._engine.collective_rpc("take_acceptance", args=(label,))
                for tally in tallies:
                    tally[name].seconds += seconds
                    tally[name].acceptance.merge(Acceptance.of(counts))
            for name in names:
                for tally in tallies:
                    for ids, base in zip(outputs[name], outputs["base"], strict=True):
                        tally[name].outputs += 1
                        tally[name].tokens += len(ids)
                        tally[name].identical += ids == base
            for history, ids in zip(histories, outputs["base"], strict=True):
                history.append(("assistant", self._tokenizer.decode(ids, skip_special_tokens=True)))

    def _wish(self, name: str) -> Wish:
        layers = LayerProgram.parse(self._config.draft_layers).layers if self._config.draft_layers else ()
        return replace(METHODS[name], layers=layers)

    def _prompt(self, history: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """In the model's chat template; what does not fit loses its beginning."""
        messages = [{"role": role, "content": content} for role, content in history]
        return {"type": "token", "prompt_token_ids": prompt_ids(self._tokenizer, messages)[-self._room :]}

    async def _generate(
        self, prompts: Sequence[dict[str, Any]], name: str, label: str, max_tokens: int | None = None
    ) -> tuple[list[list[int]], float]:
        """Token ids by prompt, all prompts at once, and the seconds until the last was done."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            temperature=0,
            max_tokens=max_tokens or self._config.max_tokens,
            output_kind=RequestOutputKind.FINAL_ONLY,
            extra_args={KEY: self._wish(name).as_argument()},
        )

        async def one(index: int, prompt: dict[str, Any]) -> list[int]:
            async for output in self._engine.generate(prompt, params.clone(), f"{label}-{index}"):
                ids = list(output.outputs[0].token_ids)
            return ids

        began = time.perf_counter()
        outputs = await asyncio.gather(*(one(index, prompt) for index, prompt in enumerate(prompts)))
        return outputs, time.perf_counter() - began
