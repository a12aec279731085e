"""Drafts by some of the model's own layers, in a real engine: what is generated stays what it is without."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; run `make setup`", allow_module_level=True)

from engine_requests import counts, generate
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from reasonprune.context import RequestContext, current_request
from reasonprune.depth import LayerProgram
from reasonprune.depth.choice import Programs
from reasonprune.depth.support import support_of
from reasonprune.engine.offline import chat_prompt, open_engine
from reasonprune.engine.vllm import RaceClient
from reasonprune.errors import RequestError
from reasonprune.models import resolve
from reasonprune.options import Options
from reasonprune.speculative.proposer import CLASS_PATH
from reasonprune.speculative.wish import Wish

MAX_MODEL_LEN = 256
OFF = Wish("off")
FEWER = Wish("draft", layers=(0, 1, 2, 3, 5))
FUSED = Wish("rasd", layers=(0, 1, 2, 3, 5))
FEW = Wish("draft", tokens=3, layers=(0, 5))


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[Any]:
    """Small blocks, which drafts often reach the end of; prefills are split."""
    async with open_engine(
        "tiny",
        speculative_config={"method": "custom_class", "model": CLASS_PATH, "num_speculative_tokens": 6},
        async_scheduling=False,
        dtype="float32",
        max_model_len=MAX_MODEL_LEN,
        max_num_seqs=16,
        max_num_batched_tokens=128,
        kv_cache_memory_bytes=128 << 20,
    ) as running:
        yield running


def asked(engine: Any, first: int, end: int) -> list[dict[str, Any]]:
    lines = (Path(resolve("tiny").path) / "test.jsonl").read_text().splitlines()
    return [chat_prompt(engine, json.loads(line)["question"], "tiny") for line in lines[first:end]]


@pytest.fixture(scope="module")
def prompts(engine: Any) -> list[dict[str, Any]]:
    return asked(engine, 0, 5)


async def test_outputs_are_identical_alone_and_in_a_mixed_batch(engine: Any, prompts: Any) -> None:
    plain = [await generate(engine, prompt, f"plain-{i}", OFF) for i, prompt in enumerate(prompts)]
    assert await generate(engine, prompts[0], "alone-0", FEWER) == plain[0]
    alone = await counts(engine, "alone")
    assert alone["acceptance_length"] > 1.5, "one layer of six is missed in few tokens"
    assert set(alone["drafted"]) == {"draft"}
    wishes = [FEWER, FUSED, OFF, FEW, Wish("retrieval")]
    mixed = [generate(engine, p, f"mixed-{i}", w) for i, (p, w) in enumerate(zip(prompts, wishes, strict=True))]
    assert await asyncio.gather(*mixed) == plain
    assert len((await counts(engine, "mixed-3"))["drafted_at"]) <= 3


async def test_a_context_at_the_models_limit_is_filled_to_the_end(engine: Any, prompts: Any) -> None:
    ids = prompts[0]["prompt_token_ids"]
    prompt = {"type": "token", "prompt_token_ids": (ids * 9)[: MAX_MODEL_LEN - 30]}
    more = {"max_tokens": 100, "ignore_eos": True}
    plain = await generate(engine, prompt, "limit-off", OFF, **more)
    assert len(plain) == 30
    assert await generate(engine, prompt, "limit-on", FEWER, **more) == plain


async def test_aborted_requests_leave_the_others_as_they_are(engine: Any, prompts: Any) -> None:
    plain = [await generate(engine, prompt, f"still-{i}", OFF) for i, prompt in enumerate(prompts)]
    calls = [asyncio.create_task(generate(engine, p, f"cut-{i}", FUSED)) for i, p in enumerate(prompts)]
    await asyncio.sleep(0.05)
    calls[2].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert [calls[i].result() for i in (0, 1, 3, 4)] == [plain[i] for i in (0, 1, 3, 4)]


@pytest.mark.parametrize("layers", [(0, 99), (5, 0), (0, 1, 2, 3, 4, 5), ("x",)], ids=str)
async def test_layers_that_were_not_checked_do_not_end_the_engine(engine: Any, prompts: Any, layers: Any) -> None:
    name = f"smuggled-{layers}"
    await generate(engine, prompts[0], name, Wish("draft", layers=layers), max_tokens=8)
    assert (await counts(engine, name))["drafted"] == {}


async def test_the_account_says_what_the_layers_drafted(engine: Any) -> None:
    programs = Programs(support_of(engine.vllm_config))
    assert programs.support.reason.startswith("layer programs and speculative decoding")
    context = RequestContext(Options(speculative={"layers": "0-3,5"}), draft=programs.draft("0-3,5"))
    token = current_request.set(context)
    try:
        sampling = SamplingParams(temperature=0, max_tokens=40, output_kind=RequestOutputKind.FINAL_ONLY)
        (fresh,) = asked(engine, 5, 6)  # what was answered before is drafted from retrieval
        async for _ in RaceClient(engine, programs).generate(fresh, sampling, "account"):
            pass
    finally:
        current_request.reset(token)
    found = context.account.as_json()
    assert found["applied"] == ["speculative"]
    assert found["speculative"]["lossless"] is True
    assert found["speculative"]["drafted"]["draft"] > 0


@pytest.mark.parametrize("text", ["0-5", "0,0-4", "auto", "3,1"])
async def test_a_draft_skips_layers_and_does_nothing_else(engine: Any, text: str) -> None:
    with pytest.raises(RequestError, match="a draft leaves layers out"):
        Programs(support_of(engine.vllm_config)).draft(text)


def test_layers_are_written_as_programs_are() -> None:
    assert Options(speculative={"layers": "0-3,5"}).speculative.layers == "0-3,5"
    with pytest.raises(ValueError, match="runs backwards"):
        Options(speculative={"layers": "5-3"})
    assert str(LayerProgram(FEWER.layers)) == "0-3,5"
