"""Judges of a live race, and what their faults cost: the judge, never the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; run `make setup`", allow_module_level=True)

from client_requests import answer, idle

from reasonprune.engine import vllm as client_module
from reasonprune.judges import Judgement
from reasonprune.judges.judge import Pair
from reasonprune.models import catalog


class StubJudge:
    """Keeps the pairs it was asked about; answers all with `similarity` after `delay` seconds, or raises."""

    def __init__(self, similarity: float = 1.0, delay: float = 0.0, error: Exception | None = None) -> None:
        self.similarity, self.delay, self.error = similarity, delay, error
        self.pairs: list[Pair] = []

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        self.pairs += pairs
        await asyncio.sleep(self.delay)
        if self.error:
            raise self.error
        return Judgement([self.similarity] * len(pairs))


@pytest.fixture
def judged_by(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(judge: StubJudge) -> StubJudge:
        monkeypatch.setattr(client_module, "build_judge", lambda *arguments: judge)
        return judge

    return put


async def test_a_judge_sees_running_and_finished_traces(engine: Any, client: Any, judged_by: Any) -> None:
    judge = judged_by(StubJudge())
    _, account = await answer(client, {"parallel": {"policy": "deepprune", "n": 6, "short": 0}})
    assert judge.pairs
    for running, finished in judge.pairs:
        assert finished.ended
        assert finished.answer is not None
        assert len(running.token_ids) == running.tokens
    # One may have ended of which the policy has not heard yet.
    assert any(not running.ended for running, _ in judge.pairs)
    books = account.parallel["judge"]
    assert (books["name"], books["pairs"]) == ("probe", len(judge.pairs))
    assert account.parallel["finished"] < 6, "one finished trace and five that are said to agree decide the vote"
    assert await idle(engine)


async def test_forced_answers_are_counted_as_probes(engine: Any, client: Any) -> None:
    _, account = await answer(client, {"parallel": {"policy": "deepprune", "n": 6, "short": 0}})
    books = account.parallel["judge"]
    assert account.probes == books["generated_tokens"]
    assert account.generated == sum(trace["tokens"] for trace in account.parallel["traces"]) + account.probes
    assert await idle(engine)


async def test_the_shipped_head_judges_live(engine: Any, client: Any) -> None:
    pytest.importorskip("sentence_transformers", reason="the extra `judge` is not installed")
    if not next(entry for entry in catalog() if entry.name == "minilm").cached:
        pytest.skip("minilm is not in the cache; `reasonprune models minilm` fetches it")
    _, account = await answer(client, {"parallel": {"policy": "deepprune", "n": 6, "short": 0, "judge": "encoder"}})
    books = account.parallel["judge"]
    assert (books["name"], account.not_applied) == ("encoder", [])
    assert books["pairs"] > 0
    assert account.probes == 0, "it reads what is there and has nothing generated"
    assert await idle(engine)


FAULTS = [
    (StubJudge(error=RuntimeError("out of order")), {}, "RuntimeError: out of order"),
    (StubJudge(delay=30), {"judge_ms": 5}, "longer than judge_ms"),
]


@pytest.mark.parametrize(("judge", "options", "reason"), FAULTS)
@pytest.mark.parametrize("when", ["finish", "prefix"])
async def test_a_judge_that_fails_is_named_and_costs_no_answer(
    engine: Any,
    client: Any,
    judged_by: Any,
    judge: StubJudge,
    options: dict[str, Any],
    reason: str,
    when: str,
) -> None:
    judged_by(judge)
    field = {"policy": "deepprune", "n": 6, "when": when, **({"prefix": 8} if when == "prefix" else {}), **options}
    outputs, account = await answer(client, {"parallel": field})
    assert "\\boxed{" in "".join(output.outputs[0].text for output in outputs)
    assert outputs[-1].outputs[0].finish_reason == "stop"
    assert account.applied == ["parallel"], "the policy goes on by finished traces alone"
    skipped = {entry["technique"]: entry["reason"] for entry in account.not_applied}
    assert reason in skipped["parallel.judge"]
    assert await idle(engine)


async def test_a_judge_that_cannot_be_made_is_named(engine: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unmade(*arguments: Any) -> None:
        raise OSError("no such model")

    monkeypatch.setattr(client_module, "build_judge", unmade)
    outputs, account = await answer(client, {"parallel": {"policy": "deepprune", "n": 4}})
    assert outputs[-1].finished
    assert any("no such model" in entry["reason"] for entry in account.not_applied)
    assert await idle(engine)
