"""A server's likeliest replies; and servers that give none, or nothing: faults that our own server does not show."""

from __future__ import annotations

import math
from typing import Any

import pytest

from reasonprune.engine.upstream import Upstream
from reasonprune.errors import ModelError, UnsupportedError
from reasonprune.judges import Snapshot
from reasonprune.selfeval.upstream import UpstreamEvaluator, replies_of

pytest.importorskip("httpx", reason="httpx is not installed; pip install 'reasonprune[upstream]'")


async def evaluate(server: Any) -> Any:
    async with Upstream(server.url, "m") as upstream:
        evaluator = UpstreamEvaluator(upstream, [{"role": "user", "content": "2 + 2?"}])
        return await evaluator.evaluate([Snapshot(0, 0, "It is 4.", "2 + 2?")])


def reply(**likeliest: float) -> tuple[int, Any]:
    rows = [{"token": token, "logprob": value} for token, value in likeliest.items()]
    choice = {"message": {"content": "No"}, "logprobs": {"content": [{"top_logprobs": rows}]}}
    usage = {"prompt_tokens": 30, "prompt_tokens_details": {"cached_tokens": 16}}
    return 200, {"choices": [choice], "usage": usage}


def test_the_likelier_spelling_counts() -> None:
    found = replies_of({"Yes": math.log(0.1), " No": math.log(0.3), "No": math.log(0.2)}, 7)
    assert found is not None
    assert (found.content, found.prompted) == (pytest.approx(0.75), 7)


def test_a_reply_that_is_not_named_is_no_likelier_than_the_last_that_is() -> None:
    found = replies_of({"No": math.log(0.6), "Well": math.log(0.2)}, 7)
    assert found is not None
    assert found.content == pytest.approx(0.75)
    assert replies_of({"Well": math.log(0.6)}, 7) is None


async def test_the_turn_follows_the_answer_and_its_cost_is_counted(fixed_answer: Any) -> None:
    fixed_answer.answer = reply(Yes=math.log(0.2), No=math.log(0.6))
    evaluation = await evaluate(fixed_answer)
    assert evaluation.scores[0].value == pytest.approx(0.75)
    assert (evaluation.generated, evaluation.prompted) == (1, 14)
    assert [message["role"] for message in fixed_answer.asked["messages"]] == ["user", "assistant", "user"]
    assert (fixed_answer.asked["model"], fixed_answer.asked["max_tokens"], fixed_answer.asked["logprobs"]) == (
        "m",
        1,
        True,
    )


async def test_neither_reply_is_no_score(fixed_answer: Any) -> None:
    fixed_answer.answer = reply(Maybe=-0.1)
    assert (await evaluate(fixed_answer)).scores == [None]


async def test_a_server_without_log_probabilities(fixed_answer: Any) -> None:
    fixed_answer.answer = 200, {"choices": [{"message": {"content": "No"}, "logprobs": None}]}
    with pytest.raises(UnsupportedError, match="gives no log-probabilities of its replies"):
        await evaluate(fixed_answer)


@pytest.mark.parametrize("answer", [(404, {"error": "no such model"}), (200, [1])])
async def test_a_server_that_fails(fixed_answer: Any, answer: tuple[int, Any]) -> None:
    fixed_answer.answer = answer
    with pytest.raises(ModelError, match="answers /chat/completions with"):
        await evaluate(fixed_answer)
