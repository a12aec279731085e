from __future__ import annotations

import math

import pytest

from reasonprune.judges.snapshot import Snapshot
from reasonprune.selfeval.turn import Asked, EvaluationTurn
from reasonprune.selfeval.verbal import AskingEvaluator, Replies

TURN = EvaluationTurn(suffix=(90, 91), thought=(80,), restart=1, go_on=2, end=frozenset({9}))


@pytest.mark.parametrize(
    ("restart", "go_on", "content"),
    [
        (math.log(0.1), math.log(0.3), 0.75),
        (-2000.0, -2001.0, 1 / (1 + math.e)),
        (-math.inf, -1.0, 1.0),
        (0.0, -math.inf, 0.0),
    ],
)
def test_the_score_is_the_share_of_no(restart: float, go_on: float, content: float) -> None:
    assert Replies(restart, go_on, 1).content == pytest.approx(content)


@pytest.mark.parametrize("reply", [-math.inf, math.nan])
def test_what_is_no_probability_is_no_number(reply: float) -> None:
    assert math.isnan(Replies(reply, reply, 1).content)


async def test_all_traces_are_asked_about_and_tokens_summed() -> None:
    asked = []

    async def ask(turn: Asked, tokens: tuple[int, int]) -> Replies:
        asked.append((turn, tokens))
        return Replies(math.log(0.5), math.log(0.5), 2)

    evaluator = AskingEvaluator(TURN, [5, 6], ask)
    snapshots = [Snapshot(0, 2, "ab", token_ids=(7, 8)), Snapshot(1, 2, "<think>", token_ids=(7, 9))]
    evaluation = await evaluator.evaluate([*snapshots, Snapshot(2, 1, "<think>", token_ids=(7,))])
    assert [score.value for score in evaluation.scores if score] == [0.5] * 3
    assert (evaluation.generated, evaluation.prompted) == (3, 6)
    assert [turn.ids for turn, _ in asked] == [[5, 6, 7, 8, 90, 91], [5, 6, 7, 90, 91], [5, 6, 7, 80, 90, 91]]
    assert [turn.begin for turn, _ in asked] == [4, 3, 3]
    assert {tokens for _, tokens in asked} == {(1, 2)}
