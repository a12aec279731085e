"""A server without log-probabilities, or none at all: faults that our own server does not show."""

from __future__ import annotations

from typing import Any

import pytest

from reasonprune.cot.upstream import UpstreamBackend
from reasonprune.errors import ModelError, ScoreError

pytest.importorskip("httpx", reason="httpx is not installed; pip install 'reasonprune[upstream]'")


async def score(server: Any) -> Any:
    async with UpstreamBackend(server.url + "/v1", "m") as backend:
        return await backend.score([{"role": "user", "content": "q"}], "", "Add it.")


def completion(logprobs: Any) -> tuple[int, Any]:
    return 200, {"choices": [{"text": "", "logprobs": logprobs}]}


async def test_scores_of_the_chain_alone(fixed_answer: Any) -> None:
    tokens = ["q", "\n\n", "Add", " it", ".", "x"]
    fixed_answer.answer = completion({"tokens": tokens, "token_logprobs": [None, -1, -2, -3, -4, -5]})
    scores = await score(fixed_answer)
    assert (scores.starts, scores.logprobs, scores.source) == ((0, 3, 6), (-2, -3, -4), "upstream")


@pytest.mark.parametrize("logprobs", [None, {}, {"tokens": ["x"], "token_logprobs": [-1]}])
async def test_an_upstream_without_log_probabilities_of_its_prompt(fixed_answer: Any, logprobs: Any) -> None:
    fixed_answer.answer = completion(logprobs)
    with pytest.raises(ScoreError, match="returns no log-probabilities of its prompt"):
        await score(fixed_answer)


@pytest.mark.parametrize("answer", [(500, b"broken"), (200, b"no json")])
async def test_an_upstream_that_fails(fixed_answer: Any, answer: tuple[int, bytes]) -> None:
    fixed_answer.answer = answer
    with pytest.raises(ModelError, match="answers /completions with"):
        await score(fixed_answer)


async def test_an_upstream_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="does not answer"):
        async with UpstreamBackend("http://127.0.0.1:9", None):
            pass
