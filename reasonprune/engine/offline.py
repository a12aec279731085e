"""A vLLM engine in this process, for recording and live benchmarks; the same `AsyncLLM` that the server runs on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from vllm import AsyncEngineArgs, SamplingParams
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from reasonprune.depth.support import CONFIG_KEY
from reasonprune.engine.chat import prompt_ids
from reasonprune.engine.user_turn import user_turn
from reasonprune.engine.workers import SEED_WORKER, announce
from reasonprune.models import resolve
from reasonprune.options import ServerOptions

DEPTH_SLOTS = ServerOptions().depth_slots


@asynccontextmanager
async def open_engine(model: str, plain: bool = False, **overrides: Any) -> AsyncIterator[AsyncLLM]:
    """The engine for `model` (short name, path or hub id), shut down at the end.

    `overrides` are engine arguments. On a CPU: our worker, small blocks, no compilation, two GiB of KV cache.
    `plain`: vLLM's own worker and model classes, all else the same, to compare with.
    """
    arguments: dict[str, Any] = {
        "model": resolve(model).path,
        "disable_log_stats": True,
        "enable_log_requests": False,
        "additional_config": {} if plain else {CONFIG_KEY: DEPTH_SLOTS},
    }
    if current_platform.is_cpu():
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
        arguments |= {
            "worker_cls": "auto" if plain else SEED_WORKER,
            # Plain `uni` becomes `mp` on CPUs, whose engine process spins on a core while it waits for its worker.
            "distributed_executor_backend": "vllm.v1.executor.uniproc_executor.UniProcExecutor",
            "enforce_eager": True,
            "block_size": 32,
            "kv_cache_memory_bytes": 2 << 30,
        }
    arguments |= overrides
    announce(arguments.get("worker_cls", "auto"))
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
    try:
        yield engine
    finally:
        engine.shutdown()
        # Its `__del__` shuts down once more, perhaps when the interpreter has taken vLLM's modules apart.
        engine.shutdown = lambda *_: None
        await asyncio.sleep(0.1)  # lets the output handler see the end before the loop closes


def chat_prompt(engine: Any, question: str, name: str) -> dict[str, Any]:
    """The token prompt of one user turn in the model's own chat template."""
    messages = [{"role": "user", "content": user_turn(question, name)}]
    return {"type": "token", "prompt_token_ids": prompt_ids(engine.get_tokenizer(), messages)}


def sampling(temperature: float, top_p: float, max_tokens: int, seed: int | None, **more: Any) -> SamplingParams:
    return SamplingParams(
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        seed=seed,
        output_kind=RequestOutputKind.FINAL_ONLY,
        **more,
    )
