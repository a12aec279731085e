"""The engine client and the live race on a real engine in this process, where faults can be put in."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; run `make setup`", allow_module_level=True)

from client_requests import QUESTION, answer, idle
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from reasonprune.context import RequestContext, current_request
from reasonprune.engine import vllm as client_module
from reasonprune.engine.offline import chat_prompt
from reasonprune.engine.vllm import RaceClient
from reasonprune.options import Options
from reasonprune.parallel.protocol import Action, Decide, Event, Signals, Spawn


class Broken:
    """A policy that fails where it is told to."""

    signals = Signals()

    def __init__(self, where: str) -> None:
        self._where = where

    def begin(self) -> list[Action]:
        if self._where == "begin":
            raise RuntimeError("broken at begin")
        return [Spawn() for _ in range(4)]

    def on(self, event: Event) -> list[Action]:
        if self._where == "on":
            raise RuntimeError("broken at on")
        return []

    def conclude(self) -> Decide:
        raise RuntimeError("broken at conclude")


@pytest.mark.parametrize("where", ["begin", "on", "conclude"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_policy_that_raises_costs_no_answer(
    engine: Any, client: RaceClient, monkeypatch: pytest.MonkeyPatch, where: str, stream: bool
) -> None:
    monkeypatch.setattr(client_module, "build", lambda options: Broken(where))
    failures = client_module.METRICS.failures.labels("consensus")._value
    before = failures.get()
    outputs, account = await answer(client, {"parallel": {"n": 4}}, stream)
    assert "\\boxed{" in "".join(output.outputs[0].text for output in outputs)
    assert outputs[-1].finished
    assert outputs[-1].outputs[0].finish_reason == "stop"
    assert account.applied == []
    assert f"broken at {where}" in account.not_applied[0]["reason"]
    assert failures.get() == before + 1
    assert await idle(engine)


async def test_a_fault_of_our_own_costs_no_answer(
    engine: Any, client: RaceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*arguments: Any) -> None:
        raise RuntimeError("no race today")

    monkeypatch.setattr(client_module, "LiveRace", faulty)
    outputs, account = await answer(client, {"parallel": {"n": 4}})
    assert outputs[-1].finished
    assert "no race today" in account.not_applied[0]["reason"]
    assert account.generated == len(outputs[-1].outputs[0].token_ids)


async def test_tokens_of_a_failed_race_are_counted(
    engine: Any, client: RaceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def faulty(*arguments: Any) -> None:
        raise RuntimeError("cannot merge")

    monkeypatch.setattr(client_module, "merged", faulty)
    outputs, account = await answer(client, {"parallel": {"policy": "self_consistency", "n": 4}})
    assert account.lost > 3 * 10
    assert account.generated == account.lost + len(outputs[-1].outputs[0].token_ids)
    assert await idle(engine)


async def test_every_attribute_is_the_engines(engine: Any, client: RaceClient) -> None:
    assert client.vllm_config is engine.vllm_config
    assert client.errored == engine.errored
    with pytest.raises(AttributeError):
        _ = client.no_such_attribute


async def test_without_a_context_the_engine_answers(client: RaceClient) -> None:
    params = SamplingParams(max_tokens=5, temperature=0, output_kind=RequestOutputKind.FINAL_ONLY)
    outputs = [o async for o in client.generate(chat_prompt(client, QUESTION, "tiny"), params, "plain")]
    assert len(outputs[-1].outputs[0].token_ids) == 5


async def test_a_pruned_trace_stops_within_one_step(engine: Any, client: RaceClient) -> None:
    """Sixteen traces that would run for 800 tokens; the account's counts show where each was stopped."""
    field = {"parallel": {"policy": "self_consistency", "n": 16}}
    context = RequestContext(Options.model_validate(field))
    params = SamplingParams(max_tokens=800, ignore_eos=True, output_kind=RequestOutputKind.FINAL_ONLY)
    token = current_request.set(context)

    async def consume() -> None:
        async for _ in client.generate(chat_prompt(client, QUESTION, "tiny"), params, "left"):
            pass

    task = asyncio.create_task(consume())
    current_request.reset(token)
    while engine.get_num_unfinished_requests() < 16:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.get_num_unfinished_requests() == 0


async def test_a_seed_is_dropped_where_our_worker_does_not_run(
    engine: Any, client: RaceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_seeds_are_safe", False)
    _, account = await answer(client, {"parallel": {"policy": "self_consistency", "n": 2}}, seed=3)
    assert account.notes["seed"].startswith("dropped")


async def test_running_winners_are_streamed_live(engine: Any, client: RaceClient, monkeypatch: Any) -> None:
    """A policy that decides for a running trace: its tokens come while it still grows."""

    class Early(Broken):
        signals = Signals(every=8)

        def on(self, event: Event) -> list[Action]:
            return [Decide((event.trace,), "decided early")]

    monkeypatch.setattr(client_module, "build", lambda options: Early("never"))
    outputs, account = await answer(client, {"parallel": {"n": 4}}, stream=True)
    assert account.parallel is not None
    states = [trace["state"] for trace in account.parallel["traces"]]
    assert sorted(states) == ["finished", "pruned", "pruned", "pruned"]
    stopped = [t["tokens"] for t in account.parallel["traces"] if t["state"] == "pruned"]
    assert max(stopped) <= 16
    assert "\\boxed{" in "".join(output.outputs[0].text for output in outputs)
