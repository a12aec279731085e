"""Self-evaluators of a live race: questions to the engine, or the scores of the worker's value head."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from reasonprune.engine.activated_lora import ARGUMENT as LORA_FROM
from reasonprune.engine.value_head import ARGUMENT
from reasonprune.engine.workers import GPU_WORKER, OURS, SEED_WORKER
from reasonprune.errors import ModelError, UnsupportedError
from reasonprune.judges.snapshot import Snapshot
from reasonprune.policy_options import BestOfNOptions, PolicyOptions
from reasonprune.selfeval.head import ValueHead
from reasonprune.selfeval.score import Evaluation, SelfEvaluator, SelfScore
from reasonprune.selfeval.trained import MOST_SAID, describe, find
from reasonprune.selfeval.turn import Asked, EvaluationTurn
from reasonprune.selfeval.verbal import AskingEvaluator, Replies

if TYPE_CHECKING:
    from reasonprune.engine.live import LiveRace, RaceRequest

_found = lru_cache(maxsize=64)(find)  # models and what was trained for them do not change under a running engine
_adapter_numbers = count(1_000_001)  # vLLM tells LoRAs apart by a number; those of the user count from 1
_adapters: dict[Path, int] = {}
_with_adapters: WeakKeyDictionary[Any, set[Path]] = WeakKeyDictionary()
_loaded: WeakKeyDictionary[Any, Path] = WeakKeyDictionary()


async def ask(
    engine: Any,
    prompt: Mapping[str, Any],
    tokens: tuple[int, int],
    request_id: str,
    options: Mapping[str, Any],
    lora_from: int = 0,
) -> Replies:
    """Log-probabilities of both `tokens` after a token prompt, by one step over its cached prefix.

    `lora_from`: the first token of the prompt on which a LoRA among the options acts.

    Raises:
        UnsupportedError: the engine gives no probabilities.
    """
    params = SamplingParams(
        max_tokens=1,
        temperature=0,
        logprob_token_ids=list(tokens),
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args={LORA_FROM: lora_from} if lora_from else None,
    )
    final = None
    async for output in engine.generate(prompt, params, request_id, **options):
        final = output
    rows = final.outputs[0].logprobs if final is not None and final.outputs else None
    if final is None or not rows or any(token not in rows[0] for token in tokens):
        raise UnsupportedError("the engine gives no probabilities of the replies, which self-evaluation needs")
    restart, go_on = (rows[0][token].logprob for token in tokens)
    return Replies(restart, go_on, len(prompt["prompt_token_ids"]) - (final.num_cached_tokens or 0))


def adapter_request(engine: Any, folder: Path) -> Any:
    """The LoRA in `folder` for one engine request.

    Raises:
        UnsupportedError: the engine was started without LoRAs, or cannot make one act on the evaluation turn alone.
    """
    from vllm.lora.request import LoRARequest

    config = engine.vllm_config
    if config.lora_config is None:
        raise UnsupportedError("self_eval = adapter needs an engine that takes LoRAs: start it with --enable-lora")
    if config.parallel_config.worker_cls not in OURS:
        raise UnsupportedError(
            "self_eval = adapter needs our worker, by which it acts on the evaluation turn alone: start the engine with"
            f" --worker-cls {SEED_WORKER} or {GPU_WORKER}"
        )
    number = _adapters.setdefault(folder, next(_adapter_numbers))
    return LoRARequest(f"reasonprune-self-eval-{number}", number, str(folder))


async def load_adapter(engine: Any, folder: Path) -> None:
    """Has the engine load the adapter in `folder` before it is asked for, since the time of a check is limited.

    Raises:
        UnsupportedError: the engine takes no LoRA, or not this one.
    """
    known = _with_adapters.setdefault(engine, set())
    if folder in known:
        return
    request = adapter_request(engine, folder)
    try:
        await engine.add_lora(request)
    except Exception as error:
        raise UnsupportedError(
            f"the engine cannot load the adapter in {folder} ({' '.join(str(error).split())[:MOST_SAID]}); it needs"
            f" --max-lora-rank {describe(folder)['spec']['rank']} or more"
        ) from None
    known.add(folder)


def asking_evaluator(
    engine: Any, prompt: Mapping[str, Any], name: str, options: Mapping[str, Any], adapter: Path | None
) -> AskingEvaluator:
    """The kind `verbal`, or `adapter` with its folder. `name` begins the ids of the engine requests."""
    numbers = count()
    options = {key: value for key, value in options.items() if key in ("lora_request", "priority")}
    if adapter is not None:
        options["lora_request"] = adapter_request(engine, adapter)
    salt = {"cache_salt": prompt["cache_salt"]} if "cache_salt" in prompt else {}

    async def one(asked: Asked, tokens: tuple[int, int]) -> Replies:
        extended = {"type": "token", "prompt_token_ids": asked.ids, **salt}
        lora_from = 0 if adapter is None else asked.begin
        return await ask(engine, extended, tokens, f"{name}-check{next(numbers)}", options, lora_from)

    return AskingEvaluator(EvaluationTurn.of(engine.get_tokenizer()), prompt["prompt_token_ids"], one)


class HeadEvaluator:
    """The kind `head`: asks our worker for what it has kept of each trace. Costs no token."""

    def __init__(self, engine: Any, name_of: Callable[[int], str]) -> None:
        self._engine = engine
        self._name_of = name_of

    async def evaluate(self, snapshots: Sequence[Snapshot]) -> Evaluation:
        names = [self._name_of(snapshot.trace) for snapshot in snapshots]
        rows, _ = (await self._engine.collective_rpc("fetch_values", args=(names,)))[0]
        if not any(rows):
            raise UnsupportedError(
                "our worker kept no states of these traces; it keeps none under speculative decoding"
            )
        return Evaluation([SelfScore(*row[1]) if row is not None else None for row in rows])


async def load_head(engine: Any, folder: Path) -> None:
    """Has the worker load the head in `folder`, unless it has.

    Raises:
        ModelError: the folder holds no head that this version can use.
        UnsupportedError: the engine's worker is not ours, or runs another head.
    """
    if _loaded.get(engine) == folder:
        return
    await asyncio.to_thread(ValueHead.load, folder)  # what is wrong with it cannot be told from the worker's error
    try:
        (loaded, *_) = await engine.collective_rpc("load_value_head", args=(str(folder),))
    except Exception as error:
        raise UnsupportedError(
            "self_eval = head needs our worker, which `reasonprune serve` runs on CPUs (--worker-cls "
            f"reasonprune.engine.worker.CPUWorker); this engine's cannot load a head ({type(error).__name__})"
        ) from None
    if loaded != str(folder):
        raise UnsupportedError(f"this engine already runs the value head in {loaded}; one engine runs one head")
    _loaded[engine] = folder


async def prepare(parallel: PolicyOptions, engine: Any) -> tuple[Path | None, str | None]:
    """What self-evaluation needs before a race: the folder of the trained one; or the reason why it cannot be."""
    if not isinstance(parallel, BestOfNOptions) or parallel.self_eval == "verbal":
        return None, None
    named = Path(parallel.self_eval_model) if parallel.self_eval_model else None
    try:
        folder = await asyncio.to_thread(_found, engine.vllm_config.model_config.model, parallel.self_eval, named)
        await (load_head if parallel.self_eval == "head" else load_adapter)(engine, folder)
    except (ModelError, UnsupportedError) as error:
        return None, error.message
    return folder, None


def evaluator_of(
    parallel: PolicyOptions, engine: Any, request: RaceRequest, folder: Path | None, why_not: str | None
) -> Callable[[LiveRace], SelfEvaluator] | None:
    """Makes the self-evaluator of a race, None where the policy asks none. `folder`, `why_not`: from `prepare`."""
    if not isinstance(parallel, BestOfNOptions):
        return None

    def make(race: LiveRace) -> SelfEvaluator:
        if why_not is not None:
            raise UnsupportedError(why_not)
        if parallel.self_eval == "head":
            return HeadEvaluator(engine, race.name_of)
        return asking_evaluator(engine, request.prompt, request.request_id, request.generate_options, folder)

    return make


def marked(params: SamplingParams, name: str, every: int = 0) -> SamplingParams:
    """`params`, of which the worker's head keeps scores under `name`, every so many tokens too where that is not 0."""
    params.extra_args = {**(params.extra_args or {}), ARGUMENT: [name, every]}
    return params
