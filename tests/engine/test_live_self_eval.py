"""Self-evaluation of a live race, and what its faults cost: the scores, never the answer."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; run `make setup`", allow_module_level=True)

import torch
from client_requests import QUESTION, answer, idle
from transformers import AutoModelForCausalLM

from reasonprune.engine import vllm as client_module
from reasonprune.engine.offline import chat_prompt, sampling
from reasonprune.engine.self_eval import adapter_request, ask, load_head, marked
from reasonprune.errors import ModelError, UnsupportedError
from reasonprune.judges import Snapshot
from reasonprune.models import resolve
from reasonprune.selfeval import Evaluation, SelfScore
from reasonprune.selfeval.head import ValueHead
from reasonprune.selfeval.trail import trails
from reasonprune.selfeval.trained import find


def best_of(n: int = 4, **options: Any) -> dict[str, Any]:
    return {"parallel": {"policy": "best_of_n", "n": n, **options}}


class StubEvaluator:
    """Gives every trace `score` after `delay` seconds, or raises: faults that a real one cannot be made to show."""

    def __init__(self, score: float = 0.5, delay: float = 0.0, error: Exception | None = None) -> None:
        self.score, self.delay, self.error = score, delay, error

    async def evaluate(self, snapshots: Sequence[Snapshot]) -> Evaluation:
        await asyncio.sleep(self.delay)
        if self.error:
            raise self.error
        return Evaluation([SelfScore(self.score) for _ in snapshots])


@pytest.fixture
def evaluated_by(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(evaluator: StubEvaluator) -> None:
        monkeypatch.setattr(client_module, "evaluator_of", lambda *arguments: lambda race: evaluator)

    return put


@pytest.fixture
async def head(engine: Any) -> Path:
    folder = find(resolve("tiny").path, "head")
    await load_head(engine, folder)
    return folder


async def test_the_model_is_asked_about_every_trace_that_ends(engine: Any, client: Any) -> None:
    outputs, account = await answer(client, best_of(4, threshold=1.0))
    parallel = account.parallel
    assert "\\boxed{" in outputs[-1].outputs[0].text
    assert parallel["self_eval"]["kind"] == "verbal"
    assert parallel["self_eval"]["checks"] == parallel["self_eval"]["generated_tokens"] == account.probes == 4
    assert all(0 <= trace["score"] <= 1 for trace in parallel["traces"])
    assert parallel["score"] == parallel["traces"][parallel["chosen"][0]]["score"]
    assert parallel["traces"][0]["temperature"] == 0, "annealing starts greedy"
    assert account.not_applied == []
    assert account.generated == sum(trace["tokens"] for trace in parallel["traces"]) + account.probes
    assert await idle(engine)


async def test_the_check_reads_the_question_only_beyond_the_cache(engine: Any, client: Any) -> None:
    _, account = await answer(client, best_of(1, threshold=1.0))
    books = account.parallel["self_eval"]
    (trace,) = account.parallel["traces"]
    whole = len(chat_prompt(engine, QUESTION, "tiny")["prompt_token_ids"]) + trace["tokens"] + 60
    assert books["prompt_tokens"] < whole - 32


async def test_traces_are_pruned_mid_generation(engine: Any, client: Any) -> None:
    field = best_of(4, threshold=1.0, waves="all", prune_at=[8], keep=0.5)
    _, account = await answer(client, field, stream=True, temperature=1.0)
    pruned = [trace for trace in account.parallel["traces"] if trace["state"] == "pruned"]
    assert len(pruned) in (0, 2), "none where all scores are equal"
    assert all("by self-evaluation" in trace["reason"] for trace in pruned)
    assert await idle(engine)


async def test_the_head_scores_inside_the_step_as_transformers_would(engine: Any, head: Path) -> None:
    prompt = chat_prompt(engine, QUESTION, "tiny")
    names = [f"in-step-{i}" for i in range(3)]

    async def one(name: str, seed: int, mark: bool = True) -> list[int]:
        final, params = None, sampling(1.0, 1.0, 60 if mark else 25, seed)
        async for output in engine.generate(prompt, marked(params, name, 10) if mark else params, name):
            final = output
        return list(final.outputs[0].token_ids)

    others = [one("not-scored", 7, mark=False), one("not-scored-either", 8, mark=False)]
    first, _, *rest = await asyncio.gather(one(names[0], 0), others[0], one(names[1], 1), one(names[2], 2), others[1])
    ids = [first, *rest[:2]]
    rows, milliseconds = (await engine.collective_rpc("fetch_values", args=([*names, "unknown"], True)))[0]
    assert rows.pop() is None
    assert milliseconds > 0
    model = AutoModelForCausalLM.from_pretrained(resolve("tiny").path, dtype="float32")
    scorer, stop = ValueHead.load(head), engine.get_tokenizer().eos_token_id
    for tokens, (seen, last, history) in zip(ids, rows, strict=True):
        assert seen == len(tokens) - 1, "the state that the last token was sampled from"
        assert [at for at, _ in history] == list(range(10, len(tokens), 10))
        with torch.inference_mode():
            whole = torch.tensor([[*prompt["prompt_token_ids"], *tokens]])
            states = model.get_decoder()(whole).last_hidden_state[0]
            likely = model.get_output_embeddings()(states).log_softmax(1)
        start = len(prompt["prompt_token_ids"])
        sampled = [float(likely[start + i - 1, token]) for i, token in enumerate(tokens)]
        lengths = [*(at for at, _ in history), seen]
        likelihoods = torch.from_numpy(trails([sampled[:at] for at in lengths])).float()
        inputs = torch.cat([states[[start + at - 1 for at in lengths]], likelihoods], dim=1)
        # Each may have been cut off at 60 tokens; what ends a trace is its stop token.
        ends = torch.tensor([at == seen and tokens[-1] == stop for at in lengths])
        expected = scorer.values(inputs, ends)
        torch.testing.assert_close(torch.tensor([*(v for _, v in history), last]), expected, rtol=1e-2, atol=1e-2)
    (again,), _ = (await engine.collective_rpc("fetch_values", args=(names[:1],)))[0]
    assert again is None, "what was fetched for good is forgotten"


async def test_a_race_by_the_head_costs_no_token(engine: Any, client: Any, head: Path) -> None:
    _, account = await answer(client, best_of(4, threshold=1.0, self_eval="head"))
    parallel = account.parallel
    assert account.not_applied == []
    assert account.probes == parallel["self_eval"]["generated_tokens"] == 0
    assert parallel["self_eval"]["checks"] >= 4
    assert all({"score", "unbeaten", "remaining"} <= trace.keys() for trace in parallel["traces"])
    assert await idle(engine)


async def test_another_head_is_refused_by_a_running_engine(engine: Any, head: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no usable self-evaluation"):
        await load_head(engine, tmp_path)
    other = shutil.copytree(head, tmp_path / "other")
    with pytest.raises(UnsupportedError, match="already runs the value head"):
        await load_head(engine, other)


async def test_without_our_worker_there_is_no_head(engine: Any, head: Path) -> None:
    class Plain:
        async def collective_rpc(self, method: str, args: Any) -> None:
            raise AttributeError(method)

    with pytest.raises(UnsupportedError, match="needs our worker"):
        await load_head(Plain(), head)


async def test_an_adapter_needs_an_engine_that_takes_it(engine: Any, client: Any) -> None:
    with pytest.raises(UnsupportedError, match="--enable-lora"):
        adapter_request(engine, Path("anywhere"))
    _, account = await answer(client, best_of(3, self_eval="adapter"))
    (skipped,) = account.not_applied
    assert skipped["technique"] == "parallel.self_eval"
    assert account.parallel["finished"] == 3


async def test_one_trained_for_another_model_is_not_applied(client: Any, tmp_path: Path) -> None:
    from reasonprune.selfeval.head import HeadSpec

    ValueHead(HeadSpec(128)).save(tmp_path, "other", "f" * 32, {})
    _, account = await answer(client, best_of(2, self_eval="head", self_eval_model=str(tmp_path)))
    assert "was trained for the model other (fingerprint ffff" in account.not_applied[0]["reason"]
    assert account.parallel["finished"] == 2


class Silent:
    """An engine that gives no probabilities, as some HTTP upstreams."""

    async def generate(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        from vllm.outputs import CompletionOutput, RequestOutput

        completion = CompletionOutput(0, "N", [1], None, None, finish_reason="length")
        yield RequestOutput("x", None, [1], None, [completion], True)


async def test_an_engine_without_probabilities_is_named() -> None:
    with pytest.raises(UnsupportedError, match="gives no probabilities"):
        await ask(Silent(), {"prompt_token_ids": [1]}, (5, 6), "x", {})


FAULTS = [
    (StubEvaluator(error=RuntimeError("out of order")), {}, "RuntimeError: out of order"),
    (StubEvaluator(error=UnsupportedError("no probabilities")), {}, "no probabilities"),
    (StubEvaluator(delay=30), {"self_eval_ms": 5}, "longer than self_eval_ms"),
    (StubEvaluator(score=math.nan), {}, "3 of 3 scores were not numbers from 0 to 1"),
]


@pytest.mark.parametrize(("evaluator", "options", "reason"), FAULTS)
async def test_a_fault_is_named_and_costs_no_answer(
    engine: Any, client: Any, evaluated_by: Any, evaluator: StubEvaluator, options: dict[str, Any], reason: str
) -> None:
    evaluated_by(evaluator)
    outputs, account = await answer(client, best_of(3, **options))
    assert "\\boxed{" in outputs[-1].outputs[0].text
    assert account.applied == ["parallel"]
    (skipped,) = account.not_applied
    assert skipped["technique"] == "parallel.self_eval"
    assert reason in skipped["reason"]
    assert account.parallel["finished"] == 3
    assert account.parallel["score"] is None
    assert await idle(engine)


async def test_equal_scores_leave_it_to_the_majority(engine: Any, client: Any, evaluated_by: Any) -> None:
    evaluated_by(StubEvaluator(score=0.5))
    _, account = await answer(client, best_of(4))
    assert account.parallel["finished"] == 4
    assert "all their scores are equal" in account.parallel["reason"]
    assert account.parallel["score"] == 0.5
