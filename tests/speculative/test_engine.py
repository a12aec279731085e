"""RASD in a real vLLM engine: what is generated stays what it is without, for every drafter and mixture of requests."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; run `make setup`", allow_module_level=True)

import engine_requests
from engine_requests import MAX_TOKENS, counts
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from reasonprune.context import RequestContext, current_request
from reasonprune.engine.offline import chat_prompt, open_engine
from reasonprune.engine.vllm import RaceClient
from reasonprune.models import resolve
from reasonprune.options import Options
from reasonprune.speculative.wish import Wish

os.environ.setdefault("OMP_NUM_THREADS", "1")
MAX_MODEL_LEN = 512


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[Any]:
    """Drafts of a model (the target itself, cheap as it is) fused with retrieval; prefills are split."""
    speculation = {"method": "draft_model", "model": resolve("tiny").path, "num_speculative_tokens": 6}
    limits = {"max_model_len": MAX_MODEL_LEN, "max_num_seqs": 16, "kv_cache_memory_bytes": 128 << 20}
    async with open_engine(
        "tiny",
        speculative_config=speculation,
        async_scheduling=False,
        dtype="float32",
        max_num_batched_tokens=128,
        **limits,
    ) as running:
        yield running


def questions(count: int) -> list[str]:
    lines = (Path(resolve("tiny").path) / "test.jsonl").read_text().splitlines()
    return [json.loads(line)["question"] for line in lines[:count]]


async def generate(engine: Any, prompt: dict[str, Any], name: str, method: str, **params: Any) -> list[int]:
    return await engine_requests.generate(engine, prompt, name, Wish(method), **params)  # type: ignore[arg-type]


async def test_outputs_are_identical_alone_and_in_a_mixed_batch(engine: Any) -> None:
    prompts = [chat_prompt(engine, question, "tiny") for question in questions(6)]
    plain = [await generate(engine, prompt, f"plain-{i}", "off") for i, prompt in enumerate(prompts)]
    for i, prompt in enumerate(prompts[:2]):
        assert await generate(engine, prompt, f"alone-{i}", "rasd") == plain[i]
    assert (await counts(engine, "alone"))["acceptance_length"] > 1.5
    assert (await counts(engine, "plain"))["acceptance_length"] == 1
    methods = ["rasd", "retrieval", "off", "draft", "suffix", "rasd"]
    mixed = [
        generate(engine, prompt, f"mixed-{i}", method)
        for i, (prompt, method) in enumerate(zip(prompts, methods, strict=True))
    ]
    assert await asyncio.gather(*mixed) == plain


async def test_aborted_and_cut_off_requests_leave_the_others_as_they_are(engine: Any) -> None:
    prompts = [chat_prompt(engine, question, "tiny") for question in questions(6)]
    plain = [await generate(engine, prompt, f"still-{i}", "off") for i, prompt in enumerate(prompts)]
    limits = [MAX_TOKENS, 7, MAX_TOKENS, 1, MAX_TOKENS, 2]
    calls = [
        asyncio.create_task(generate(engine, prompt, f"cut-{i}", "rasd", max_tokens=limit))
        for i, (prompt, limit) in enumerate(zip(prompts, limits, strict=True))
    ]
    await asyncio.sleep(0.05)
    calls[2].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    kept = [i for i in range(6) if i != 2]
    assert [calls[i].result() for i in kept] == [plain[i][: limits[i]] for i in kept]


async def test_a_context_at_the_models_limit_is_filled_to_the_end(engine: Any) -> None:
    ids = chat_prompt(engine, questions(1)[0], "tiny")["prompt_token_ids"]
    prompt = {"type": "token", "prompt_token_ids": (ids * 40)[: MAX_MODEL_LEN - 40]}
    more = {"max_tokens": 100, "ignore_eos": True}
    plain = await generate(engine, prompt, "limit-off", "off", **more)
    assert len(plain) == 40
    assert await generate(engine, prompt, "limit-on", "rasd", **more) == plain


async def account(engine: Any, field: dict[str, Any], name: str) -> dict[str, Any]:
    context = RequestContext(Options.model_validate(field))
    token = current_request.set(context)
    try:
        sampling = SamplingParams(temperature=0, max_tokens=40, output_kind=RequestOutputKind.FINAL_ONLY)
        async for _ in RaceClient(engine).generate(chat_prompt(engine, questions(1)[0], "tiny"), sampling, name):
            pass
    finally:
        current_request.reset(token)
    return context.account.as_json()


async def test_the_account_says_what_was_drafted_and_accepted(engine: Any) -> None:
    found = await account(engine, {"speculative": {"tokens": 3}}, "account")
    assert found["applied"] == ["speculative"]
    speculative = found["speculative"]
    assert speculative["lossless"] is True
    assert len(speculative["drafted_at"]) <= 3
    assert sum(speculative["accepted"].values()) == speculative["tokens"] - speculative["steps"]
    off = await account(engine, {"speculative": {"enabled": False}}, "account-off")
    assert off["applied"] == []
    assert off["not_applied"] == []
    (totals,) = await engine.collective_rpc("acceptance")
    assert totals["acceptance_length"] > 1


def test_sampling_settings_reach_every_draft_token() -> None:
    """vLLM's own expansion leaves floats unset on CPUs."""
    import torch

    from reasonprune.speculative.cpu_sampling import expand

    ends = torch.tensor([2, 2, 5], dtype=torch.int32)
    assert expand(torch.tensor([0.0, 0.5, 0.7]), ends, 5, 0, 1).tolist() == pytest.approx([1, 1, 0.7, 0.7, 0.7])
    assert expand(torch.tensor([3, 4, 5], dtype=torch.int32), ends, 5).tolist() == [3, 3, 5, 5, 5]


async def test_sampled_requests_are_decoded_plainly_on_cpus(engine: Any) -> None:
    await generate(engine, chat_prompt(engine, questions(1)[0], "tiny"), "sampled", "rasd", temperature=0.7)
    assert (await counts(engine, "sampled"))["drafted"] == {}
