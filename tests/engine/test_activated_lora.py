"""LoRAs on the engine: they act where they were asked to, on nothing else, and share the plain model's prefixes."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; run `make setup`", allow_module_level=True)
pytest.importorskip("peft", reason="needs the extra self-eval; run `make setup`")

import torch
from client_requests import answer, idle
from transformers import AutoModelForCausalLM, AutoTokenizer

from reasonprune.engine.activated_lora import ARGUMENT, first_token, plugin, told_apart
from reasonprune.engine.offline import open_engine, sampling
from reasonprune.engine.self_eval import asking_evaluator
from reasonprune.engine.vllm import RaceClient
from reasonprune.engine.workers import SEED_WORKER, VARIABLE, announce
from reasonprune.judges import Snapshot
from reasonprune.models import resolve
from reasonprune.selfeval.trained import fingerprint, save_description
from reasonprune.selfeval.turn import EvaluationTurn
from reasonprune.train.samples import Sample, SampledQuestion
from reasonprune.train.self_eval_adapter import Asker

PROMPT = list(range(20, 120))
TOKENS = 12


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """TinyReasoner under a LoRA of random weights, large enough to change every answer, and its folder."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    path = resolve("tiny").path
    model = AutoModelForCausalLM.from_pretrained(path, dtype="float32")
    wrapped = get_peft_model(model, LoraConfig(r=8, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, weights in wrapped.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.1)
    wrapped.eval()
    folder = tmp_path_factory.mktemp("adapter")
    wrapped.save_pretrained(str(folder), save_embedding_layers=False)
    save_description(folder, "adapter", "tiny", fingerprint(path), {"rank": 8, "activated": True}, {})
    return SimpleNamespace(model=wrapped, folder=folder, tokenizer=AutoTokenizer.from_pretrained(path))


@pytest.fixture(scope="module")
async def lora_engine() -> AsyncIterator[Any]:
    limits = {"max_model_len": 1024, "max_num_seqs": 32, "kv_cache_memory_bytes": 128 << 20, "dtype": "float32"}
    async with open_engine("tiny", enable_lora=True, max_lora_rank=8, **limits) as running:
        yield running


@pytest.fixture
def generate(lora_engine: Any, lora: Any) -> Any:
    """Greedy tokens of a prompt, with the LoRA from a token on (None: without), and how many came from the cache."""
    from vllm.lora.request import LoRARequest

    async def one(name: str, lora_from: int | None, prompt: list[int] = PROMPT) -> tuple[list[int], int]:
        params = sampling(0.0, 1.0, TOKENS, None, ignore_eos=True)
        if lora_from:
            params.extra_args = {ARGUMENT: lora_from}
        request = None if lora_from is None else LoRARequest("random", 1, str(lora.folder))
        final = None
        tokens = {"type": "token", "prompt_token_ids": prompt}
        async for output in lora_engine.generate(tokens, params, name, lora_request=request):
            final = output
        assert final is not None
        return list(final.outputs[0].token_ids), final.num_cached_tokens

    return one


@torch.inference_mode()
def expected(lora: Any, lora_from: int, prompt: list[int] = PROMPT) -> list[int]:
    """The same by transformers: what is before the LoRA's first token is read without it."""
    with lora.model.disable_adapter():
        cache = lora.model(input_ids=torch.tensor([prompt[:lora_from]]), use_cache=True).past_key_values
    found: list[int] = []
    step = prompt[lora_from:]
    for _ in range(TOKENS):
        output = lora.model(input_ids=torch.tensor([step]), past_key_values=cache, use_cache=True)
        found.append(int(output.logits[0, -1].argmax()))
        step = found[-1:]
    return found


async def test_requests_without_a_lora_are_left_alone_beside_one(generate: Any) -> None:
    plain, _ = await generate("plain", None)
    whole, _ = await generate("whole", 0)
    assert plain != whole
    beside = await asyncio.gather(generate("a", None), generate("b", 0), generate("c", None))
    assert [tokens for tokens, _ in beside] == [plain, whole, plain]


async def test_it_acts_from_its_first_token_on(generate: Any, lora: Any) -> None:
    plain, _ = await generate("before", None)
    for first in (64, 70, 96, 99):
        found, cached = await generate(f"from-{first}", first)
        assert found == expected(lora, first), first
        assert cached == first // 32 * 32, "blocks before it are the plain model's, and found as such"
        assert await generate(f"again-{first}", first) == (found, 96)
    assert (await generate("after", None)) == (plain, 96)


async def test_first_tokens_differ_within_a_batch(generate: Any, lora: Any) -> None:
    prompts = {first: [first, *PROMPT[1:]] for first in (40, 64, 90)}
    found = await asyncio.gather(*(generate(f"mixed-{f}", f, prompt) for f, prompt in prompts.items()))
    assert [tokens for tokens, _ in found] == [expected(lora, f, prompt) for f, prompt in prompts.items()]


async def test_a_prompt_that_is_read_in_parts(lora: Any, generate: Any, lora_engine: Any) -> None:
    """Longer than what a step may hold beside other requests, so that a part ends before the LoRA and one after."""
    prompt = [7 + i % 90 for i in range(900)]
    others = [generate(f"other-{i}", None, [i, *prompt[1:]]) for i in range(3)]
    (found, _), *_ = await asyncio.gather(generate("long", 700, prompt), *others)
    assert found == expected(lora, 700, prompt)


async def test_a_check_is_what_training_computed(lora: Any, lora_engine: Any) -> None:
    turn = EvaluationTurn.of(lora.tokenizer)
    samples = []
    for sums in ("1+1=2.", "1+2=4.\n3*50=150.\n150-7=143.", "90-5=85.\n85*9=765."):
        text = f"<think>\n{sums}\n</think>\n\nThe answer is \\boxed{{2}}."
        ids = (*lora.tokenizer.encode(text), lora.tokenizer.eos_token_id)
        samples.append(Sample(ids, (), "2", True))
    question = SampledQuestion("?", "2", tuple(PROMPT), tuple(samples))
    with torch.inference_mode():
        contents = Asker(lora.model, lora.tokenizer, turn).contents(question, samples, (0.5, 1.0))
    prompt = {"type": "token", "prompt_token_ids": PROMPT}
    for column, share in enumerate((0.5, 1.0)):
        evaluator = asking_evaluator(lora_engine, prompt, f"check-{share}", {}, lora.folder)
        snapshots = []
        for k, sample in enumerate(samples):
            ids = list(sample.token_ids if share == 1 else sample.token_ids[: sample.cut(share)])
            snapshots.append(Snapshot(k, len(ids), lora.tokenizer.decode(ids), "?", tuple(ids), share == 1))
        found = (await evaluator.evaluate(snapshots)).scores
        wanted = torch.sigmoid(contents[:, column]).tolist()
        assert [score.value for score in found if score] == pytest.approx(wanted, abs=1e-3)
        assert max(wanted) - min(wanted) > 0.01


async def test_a_race_is_evaluated_by_its_adapter(lora: Any, lora_engine: Any) -> None:
    client = RaceClient(lora_engine)
    field = {"policy": "best_of_n", "n": 3, "threshold": 1.0, "self_eval": "adapter"}
    _, account = await answer(client, {"parallel": {**field, "self_eval_model": str(lora.folder)}})
    assert not account.not_applied
    evaluation = account.parallel["self_eval"]
    assert evaluation["kind"] == "adapter"
    assert evaluation["checks"] == 3
    block, turn = 32, EvaluationTurn.of(lora.tokenizer).suffix
    assert evaluation["prompt_tokens"] < 3 * (block + len(turn)), "each check reads the turn, and a block at most"
    assert all("score" in trace for trace in account.parallel["traces"])
    assert await idle(lora_engine)


async def test_an_adapter_that_the_engine_cannot_load_is_named(lora: Any, lora_engine: Any, tmp_path: Path) -> None:
    large = shutil.copytree(lora.folder, tmp_path / "large")
    config = json.loads((large / "adapter_config.json").read_text())
    (large / "adapter_config.json").write_text(json.dumps(config | {"r": 64}))
    save_description(large, "adapter", "tiny", fingerprint(resolve("tiny").path), {"rank": 64, "activated": True}, {})
    field = {"policy": "best_of_n", "n": 2, "self_eval": "adapter", "self_eval_model": str(large)}
    _, account = await answer(RaceClient(lora_engine), {"parallel": field})
    (skipped,) = account.not_applied
    assert skipped["technique"] == "parallel.self_eval"
    assert "--max-lora-rank 64" in skipped["reason"]
    assert account.parallel["finished"] == 2


def test_a_stock_worker_makes_the_plugin_keep_its_hands_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.core import kv_cache_utils

    monkeypatch.delattr(kv_cache_utils, "reasonprune_shares", raising=False)
    own = kv_cache_utils.generate_block_hash_extra_keys
    environ: dict[str, str] = {}
    announce("auto", environ)
    monkeypatch.setenv(VARIABLE, environ[VARIABLE])
    plugin()
    assert kv_cache_utils.generate_block_hash_extra_keys is own
    announce(SEED_WORKER, environ)
    assert environ[VARIABLE]


def test_keys_of_other_kinds_stay() -> None:
    keys = told_apart(lambda *_: ((("lora", "name", "path"), ("cache_salt", "s")), 0))
    marked = SimpleNamespace(sampling_params=SimpleNamespace(extra_args={ARGUMENT: 64}))
    assert keys(marked, 32, 64, 0) == ((("cache_salt", "s"),), 0)
    assert keys(marked, 64, 96, 0) == ((("lora", "name@64", "path"), ("cache_salt", "s")), 0)
    for arguments in (None, {}, {ARGUMENT: "64"}, {ARGUMENT: -3}):
        unmarked = SimpleNamespace(sampling_params=SimpleNamespace(extra_args=arguments))
        assert keys(unmarked, 0, 32, 0)[0] == (("lora", "name", "path"), ("cache_salt", "s"))
    assert first_token(None) == 0
