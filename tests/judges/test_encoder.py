from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from reasonprune.errors import ModelError
from reasonprune.judges import Snapshot
from reasonprune.judges.encoder import EncoderJudge
from reasonprune.judges.features import FEATURES
from reasonprune.judges.head import Head, HeadSpec, Inputs
from reasonprune.models import catalog

QUESTION = "Start with 12, add 3, multiply by 2, subtract 4. What do you get?"


class Lengths:
    """A stand-in encoder: unit vectors that turn with the length of the text; counts."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.seen += texts
        angles = np.array([len(text) / 20 for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def snapshot(trace: int, text: str, tokens: int | None = None, answer: str | None = None) -> Snapshot:
    return Snapshot(trace, tokens or len(text), text, QUESTION, (), answer is not None, answer)


SAME = snapshot(0, "12+3=15.\n\n15*2=30.\n\n30"), snapshot(1, "12+3=15.\n\n15*2: 10*2=20, 5*2=10, so 15*2=30.\n\n")
SLIP = snapshot(2, "12+3=15.\n\n15*2=32.\n\n32-")


@pytest.fixture
def folders(tmp_path: Path) -> dict[Inputs, Path]:
    """A head of each kind that is nothing but contradictions against agreements, plus noise."""
    made: dict[Inputs, Path] = {}
    for inputs in ("text", "cosine", "embeddings"):
        torch.manual_seed(0)
        encoder = None if inputs == "text" else "minilm"
        head = Head(HeadSpec(inputs, encoder=encoder, dimensions=2))
        with torch.no_grad():
            first = head.net["layers"][0]
            first.weight[:] *= 0.01
            first.weight[0, FEATURES.index("equations_contrary")] = -3
            head.net["layers"][3].weight[:] = 0.01
            head.net["layers"][3].weight[0, 0] = 3
            first.bias[0] = 2
        made[inputs] = tmp_path / inputs
        head.save(made[inputs])
    return made


@pytest.mark.parametrize("inputs", ["text", "cosine", "embeddings"])
async def test_pairs_in_both_orders(inputs: Inputs, folders: dict[Inputs, Path]) -> None:
    judge = EncoderJudge(folders[inputs], Lengths())
    judgement = await judge.judge([SAME, (SAME[0], SLIP), (SAME[1], SAME[0]), (SLIP, SAME[0])])
    same, slipped, same_back, slipped_back = judgement.similarities
    assert 1 > same > slipped > 0
    assert (same_back, slipped_back) == (same, slipped)
    assert (judgement.generated, judgement.prompted) == (0, 0)
    # One by one they are scored as together.
    assert (await EncoderJudge(folders[inputs], Lengths()).judge([SAME])).similarities == pytest.approx([same])


async def test_a_trace_is_encoded_once_and_only_if_the_head_needs_it(folders: dict[Inputs, Path]) -> None:
    for inputs, expected in (("text", 0), ("cosine", 3), ("embeddings", 3)):
        lengths = Lengths()
        judge = EncoderJudge(folders[inputs], lengths)
        judge.load()
        await judge.judge([SAME, (SAME[0], SLIP)])
        await judge.judge([(SAME[1], SLIP)])
        assert len(lengths.seen) == expected


async def test_traces_that_have_ended_are_judged_by_their_answers(folders: dict[Inputs, Path]) -> None:
    ended = [snapshot(i, "12+3=15. \\boxed{26}", answer=answer) for i, answer in enumerate(("26", "26", "28"))]
    judge = EncoderJudge(folders["text"])
    judgement = await judge.judge([(ended[0], ended[1]), SAME, (ended[1], ended[2])])
    assert judgement.similarities[::2] == [1, 0]
    assert 0 < judgement.similarities[1] < 1
    assert (await judge.judge([])).similarities == []


async def test_a_folder_without_a_head(tmp_path: Path) -> None:
    judge = EncoderJudge(tmp_path / "none")
    with pytest.raises(ModelError, match="holds no usable head"):
        judge.load()
    with pytest.raises(ModelError, match="holds no usable head"):
        await judge.judge([SAME])


async def test_the_shipped_head_sees_a_contradiction() -> None:
    judge = EncoderJudge()
    if Head.load().spec.encoder and not next(entry for entry in catalog() if entry.name == "minilm").cached:
        pytest.skip("minilm is not in the cache; `reasonprune models minilm` fetches it")
    judge.load()
    same, slipped = (await judge.judge([SAME, (SAME[0], SLIP)])).similarities
    assert 1 > same > slipped + 0.1 > 0.1
