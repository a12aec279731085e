"""ASAP on a real engine: log-probabilities of given tokens, with and without the prefix cache, and earlier turns."""

from __future__ import annotations

from typing import Any

import pytest

from reasonprune.cot.chats import chains_in
from reasonprune.cot.history import History
from reasonprune.errors import ScoreError

MESSAGES = [{"role": "user", "content": "Start with 37, add 53, multiply by 7, subtract 277. What do you get?"}]
CHAIN = "37+53=90.\n\nWait, let me check.\n\n37+53=90.\n\n90*7=630.\n\n630-277=353.\n\nIt is the same."
TURNS = [
    *MESSAGES,
    {"role": "assistant", "content": f"<think>\n{CHAIN}\n</think>\n\nThe answer is \\boxed{{353}}."},
    {"role": "user", "content": "Start with 2, add 3. What do you get?"},
]


@pytest.fixture
def backend(engine: Any) -> Any:
    from reasonprune.engine.backend import EngineBackend

    return EngineBackend(engine, "test-asap")


async def reset(engine: Any) -> None:
    await engine.reset_prefix_cache()


async def test_scores_are_those_of_the_tokens_as_they_were_sampled(engine: Any, backend: Any) -> None:
    from reasonprune.engine.chat import prompt_ids
    from reasonprune.engine.offline import sampling

    prompt = {"type": "token", "prompt_token_ids": prompt_ids(engine.get_tokenizer(), MESSAGES)}
    async for output in engine.generate(prompt, sampling(0.0, 1.0, 60, None, logprobs=0), "sampled"):
        final = output.outputs[0]
    sampled = [row[token].logprob for token, row in zip(final.token_ids, final.logprobs, strict=True)]
    scores = await backend.score(MESSAGES, "", final.text)
    count = len(scores.starts)
    assert scores.logprobs == pytest.approx(sampled[:count], abs=1e-4)
    assert scores.source == "engine"


async def test_the_prefix_cache_changes_nothing(engine: Any, backend: Any) -> None:
    await reset(engine)
    cold = await backend.score(MESSAGES, "<think>\n", CHAIN)
    again = await backend.score(MESSAGES, "<think>\n", CHAIN)  # the cache now reaches into the chain
    long = [{"role": "user", "content": "Please. " * 40 + MESSAGES[0]["content"]}]
    await reset(engine)
    first = await backend.score(long, "<think>\n", "37+53=90.")  # leaves the prompt's blocks in the cache
    longer = await backend.score(long, "<think>\n", CHAIN)
    await reset(engine)
    fresh = await backend.score(long, "<think>\n", CHAIN)
    assert cold.logprobs == pytest.approx(again.logprobs, abs=1e-4)
    assert longer.logprobs == pytest.approx(fresh.logprobs, abs=1e-4)
    assert longer.logprobs[:3] == pytest.approx(first.logprobs[:3], abs=1e-4)


async def test_a_chain_longer_than_the_model_takes(backend: Any) -> None:
    with pytest.raises(ScoreError, match="the model takes 1024"):
        await backend.score(MESSAGES, "", "1+1=2.\n\n" * 400)


async def test_the_model_writes_and_answers(backend: Any) -> None:
    assert "<think>" in await backend.write(MESSAGES, 8, 0.0)
    answer = await backend.answer(MESSAGES, f"<think>\n{CHAIN}")
    assert (answer or "").startswith("35"), "TinyReasoner is not used to being forced"


async def test_earlier_turns_are_shortened_once_and_then_stay(engine: Any, backend: Any) -> None:
    history = History(backend)
    shortened, report = await history.compress(TURNS, 0.6)
    (turn,) = report.turns
    assert (turn["message"], turn["scored_by"], turn["decided"]) == (1, "engine", "now")
    assert turn["tokens"]["after"] < turn["tokens"]["before"]
    assert report.prompt_tokens_saved > 0
    assert shortened[1]["content"].endswith("</think>\n\nThe answer is \\boxed{353}.")
    assert "630-277=353." in shortened[1]["content"]
    assert TURNS[1]["content"].count("37+53=90.") == 2, "the caller's messages stay as they are"
    more, again = await history.compress([*TURNS, {"role": "assistant", "content": "It is 5."}], 0.6)
    assert more[:3] == shortened
    assert again.turns[0]["decided"] == "earlier"


async def test_what_this_server_generated_is_scored_by_what_was_recorded(engine: Any, backend: Any) -> None:
    history = History(backend)
    tokenizer = engine.get_tokenizer()
    text = TURNS[1]["content"]
    ids = tokenizer.encode(text, add_special_tokens=False)
    await history.remember(text, ids, [-1.0] * len(ids))
    _, report = await history.compress(TURNS, 0.6)
    assert report.turns[0]["scored_by"] == "recorded"


async def test_a_turn_that_cannot_be_scored_stays_whole(backend: Any) -> None:
    turns = [*MESSAGES, {"role": "assistant", "content": "<think>" + "1+1=2.\n\n" * 400 + "</think>2"}]
    shortened, report = await History(backend).compress(turns, 0.5)
    assert shortened == turns
    assert "message 1: " in report.failed[0]


async def test_a_row_of_a_data_set(backend: Any) -> None:
    from reasonprune.cot.files import CompressConfig, compress_found

    row = {"messages": [dict(turn) for turn in TURNS[:2]]}
    (found,) = chains_in(row)
    iterative = await compress_found(found, CompressConfig(0.6, iterative=True), backend, "the row", 0)
    assert iterative["kept"] <= 0.6 or "note" in iterative
    row = {"messages": [dict(turn) for turn in TURNS[:2]]}
    (found,) = chains_in(row)
    gated = await compress_found(found, CompressConfig(0.05, method="random", gate=True), backend, "the row", 0)
    assert gated["kept"] < 1 or gated["not_applied"][0]["technique"] == "compression"
    assert (found.text == TURNS[1]["content"]) == (gated["kept"] == 1)
