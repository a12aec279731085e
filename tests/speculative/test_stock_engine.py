"""The plain proposer in vLLM as it comes: its own worker, and a flag that names ours."""

from __future__ import annotations

import asyncio
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; run `make setup`", allow_module_level=True)

import torch
from prometheus_client import REGISTRY
from transformers import AutoModelForCausalLM
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from reasonprune.engine.offline import chat_prompt, open_engine
from reasonprune.models import resolve
from reasonprune.speculative.proposer import CLASS_PATH
from reasonprune.speculative.reference import TreeDecoder
from reasonprune.speculative.tree import TokenTree

os.environ.setdefault("OMP_NUM_THREADS", "1")
MAX_TOKENS = 60
LIMITS = {"max_model_len": 512, "max_num_seqs": 4, "kv_cache_memory_bytes": 128 << 20, "max_num_batched_tokens": 128}
SPECULATION = {"method": "custom_class", "model": CLASS_PATH, "num_speculative_tokens": 6}


async def generate(engine: Any, ids: list[int], name: str) -> list[int]:
    sampling = SamplingParams(temperature=0, max_tokens=MAX_TOKENS, output_kind=RequestOutputKind.FINAL_ONLY)
    async for output in engine.generate({"type": "token", "prompt_token_ids": ids}, sampling, name):
        found = list(output.outputs[0].token_ids)
    return found


def counted(name: str) -> float:
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == f"vllm:spec_decode_num_{name}_total"
    )


async def test_a_flag_alone_drafts_and_changes_no_output() -> None:
    folder = Path(resolve("tiny").path)
    questions = [json.loads(line)["question"] for line in (folder / "test.jsonl").read_text().splitlines()[:4]]
    async with open_engine(
        "tiny",
        plain=True,
        speculative_config=SPECULATION,
        async_scheduling=False,
        dtype="float32",
        disable_log_stats=False,
        **LIMITS,
    ) as engine:
        end = engine.get_tokenizer().eos_token_id
        prompts = [chat_prompt(engine, question, "tiny")["prompt_token_ids"] for question in questions]
        before = counted("accepted_tokens")
        drafted = await asyncio.gather(*(generate(engine, ids, f"stock-{i}") for i, ids in enumerate(prompts)))
        accepted = counted("accepted_tokens") - before
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    decoder = TreeDecoder(model)
    plain = [decoder.decode(ids, MAX_TOKENS, lambda context: TokenTree(), end).tokens for ids in prompts]
    assert drafted == plain
    assert accepted > 0
