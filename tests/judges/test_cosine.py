from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from reasonprune.judges import Snapshot
from reasonprune.judges.cosine import CosineJudge
from reasonprune.judges.encoder import sentence_encoder
from reasonprune.models import catalog

VECTORS = {"east": (1, 0), "north": (0, 1), "west": (-1, 0)}


class Compass:
    """A stand-in encoder that knows three texts, and counts."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seen: list[str] = []
        self._seconds = seconds

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(self._seconds)
        self.seen += texts
        return np.array([VECTORS[text] for text in texts], dtype=np.float32)


def snapshot(trace: int, text: str, tokens: int = 10, answer: str | None = None) -> Snapshot:
    return Snapshot(trace, tokens, text, "?", (), answer is not None, answer)


EAST, NORTH, WEST = (snapshot(i, text) for i, text in enumerate(VECTORS))


async def test_cosines_are_mapped_to_0_to_1_in_the_order_of_the_pairs() -> None:
    judgement = await CosineJudge(Compass()).judge([(EAST, WEST), (EAST, EAST), (NORTH, EAST)])
    assert judgement.similarities == pytest.approx([0, 1, 0.5])
    assert (judgement.generated, judgement.prompted) == (0, 0)
    assert all(type(similarity) is float for similarity in judgement.similarities)


async def test_each_text_is_encoded_once() -> None:
    compass = Compass()
    judge = CosineJudge(compass)
    await judge.judge([(EAST, NORTH), (EAST, WEST), (WEST, NORTH)])
    assert sorted(compass.seen) == ["east", "north", "west"]
    await judge.judge([(EAST, WEST)])
    assert len(compass.seen) == 3
    grown = snapshot(0, "west", tokens=20)
    assert (await judge.judge([(grown, WEST)])).similarities == pytest.approx([1])
    assert compass.seen[3:] == ["west"]
    # Only the latest length of a trace is kept.
    await judge.judge([(EAST, NORTH)])
    assert compass.seen[4:] == ["east"]


async def test_traces_that_have_ended_are_judged_by_their_answers() -> None:
    ended = [snapshot(i, text, answer=answer) for i, (text, answer) in enumerate(zip(VECTORS, "445", strict=True))]
    compass = Compass()
    judgement = await CosineJudge(compass).judge([(ended[0], ended[1]), (ended[1], ended[2])])
    assert judgement.similarities == [1, 0]
    assert compass.seen == []
    half = await CosineJudge(compass).judge([(ended[0], ended[1]), (ended[0], NORTH)])
    assert half.similarities == pytest.approx([1, 0.5])


async def test_no_pairs() -> None:
    assert (await CosineJudge(Compass()).judge([])).similarities == []


async def test_the_event_loop_runs_on_while_texts_are_encoded() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await CosineJudge(Compass(seconds=0.5)).judge([(EAST, WEST)])
    ticking.cancel()
    assert ticks >= 5


def minilm_or_skip() -> None:
    pytest.importorskip("sentence_transformers")
    if not next(entry for entry in catalog() if entry.name == "minilm").cached:
        pytest.skip("minilm is not in the cache; `reasonprune models minilm` fetches it")


async def test_a_real_encoder() -> None:
    minilm_or_skip()
    near = snapshot(0, "The train leaves at noon."), snapshot(1, "At twelve o'clock the train departs.")
    far = snapshot(2, "Multiply both sides of the equation by seven.")
    judgement = await CosineJudge().judge([near, (near[0], far)])
    assert 1 > judgement.similarities[0] > 0.75 > judgement.similarities[1] > 0.3


def test_the_end_of_a_long_text_is_encoded() -> None:
    minilm_or_skip()
    encoder = sentence_encoder("minilm")
    assert sentence_encoder("minilm") is encoder
    end = "and so it is seven " * 100
    vectors = encoder(["cats and dogs " * 400 + end, "differential equations " * 40 + end, end, "cats and dogs " * 400])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[2] == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[3] < 0.5
