from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from reasonprune.engine.pool import RecordedTrace
from reasonprune.errors import RequestError
from reasonprune.options import Options
from reasonprune.parallel.policies.best_of_n import BestOfN
from reasonprune.parallel.protocol import Decide, Evaluate, Evaluated, Failed, Finished, Grew, Spawn
from reasonprune.policy_options import BestOfNOptions, doubling
from reasonprune.selfeval import SelfScore
from reasonprune.settings import validate


def trace(tokens: int, answer: str | None, score: float, early: dict[int, float] | None = None) -> RecordedTrace:
    scores = {at: SelfScore(value) for at, value in (early or {}).items()} | {tokens: SelfScore(score)}
    return RecordedTrace(tokens, answer, scores=scores)


def best_of(n: int = 4, **options: Any) -> BestOfNOptions:
    return BestOfNOptions(n=n, **options)


def test_waves_double() -> None:
    assert doubling(16) == [1, 1, 2, 4, 8]
    assert [doubling(n) for n in (1, 3, 12)] == [[1], [1, 1, 1], [1, 1, 2, 4, 4]]
    assert best_of(16).most_at_once == 8
    assert best_of(3, waves="single").wave_sizes == [1, 1, 1]
    assert best_of(3, waves="all").wave_sizes == [3]


def test_one_trace_is_enough_where_it_passes(play: Any) -> None:
    played = play(best_of(16), [trace(10, "1", 0.95)] * 16)
    assert (played.answer, played.states) == ("1", ["finished"])
    assert "trace 0 is 0.95 sure that a fresh one would do no better" in played.outcome.decision.reason


def test_waves_go_on_until_one_passes(play: Any) -> None:
    pool = [trace(10, str(i), 0.3) for i in range(3)] + [trace(10, "right", 0.95)] + [trace(10, "x", 0.3)] * 12
    played = play(best_of(16, select="score"), pool)
    assert played.answer == "right"
    assert len(played.started) == 4
    assert played.race.now == 30, "three waves of ten tokens, the last of two traces side by side"


def test_what_counts_for_stopping_is_that_a_fresh_one_does_no_better(play: Any) -> None:
    hopeless = RecordedTrace(10, "1", scores={10: SelfScore(0.05, unbeaten=0.97)})
    assert len(play(best_of(8), [hopeless] * 8).started) == 1


def test_the_three_ways_to_select(play: Any) -> None:
    pool = [trace(10, "a", 0.2), trace(10, "a", 0.3), trace(10, "a", 0.1), trace(10, "b", 0.5), trace(10, "c", 0.55)]
    pool.append(trace(10, "b", 0.4))
    answers = {select: play(best_of(6, select=select), pool).answer for select in ("score", "majority", "weighted")}
    assert answers == {"score": "c", "majority": "a", "weighted": "b"}


def test_of_one_answer_the_best_trace_is_returned(play: Any) -> None:
    pool = [trace(10, "a", 0.2), trace(10, "a", 0.6), trace(10, "b", 0.5)]
    assert play(best_of(3, select="majority"), pool).outcome.kept == (1,)


def test_pruning_keeps_the_best_share_of_those_that_run(play: Any) -> None:
    pool = [trace(100, str(i), 0.5, {40: i / 10}) for i in range(8)]
    played = play(best_of(8, waves="all", prune_at=[40], keep=0.25, select="score"), pool)
    assert [i for i, state in enumerate(played.states) if state == "finished"] == [6, 7]
    assert played.outcome.traces[3].reason == "not among the best 2 of 8 by self-evaluation, 0.30"
    assert played.race.tokens(0) == 40


def test_pruning_in_steps(play: Any) -> None:
    pool = [trace(100, str(i), 0.5, {20: i / 10, 40: 1 - i / 10}) for i in range(8)]
    played = play(best_of(8, waves="all", prune_at=[40, 20]), pool)
    assert [i for i, state in enumerate(played.states) if state == "finished"] == [4, 5]
    assert [played.race.tokens(i) for i in range(8)] == [20, 20, 20, 20, 100, 100, 40, 40]


def test_each_length_has_its_own_share(play: Any) -> None:
    pool = [trace(100, str(i), 0.5, {20: i / 10, 40: 1 - i / 10}) for i in range(8)]
    played = play(best_of(8, waves="all", prune_at=[40, 20], keep=[0.5, 0.75]), pool)
    assert [i for i, state in enumerate(played.states) if state == "finished"] == [2, 3, 4]
    assert [played.race.tokens(i) for i in range(8)] == [20, 20, 100, 100, 100, 40, 40, 40]


def test_a_trace_that_ends_before_the_length_is_not_waited_for(play: Any) -> None:
    pool = [trace(10, "a", 0.5), trace(100, "b", 0.4, {40: 0.1}), trace(100, "c", 0.6, {40: 0.9})]
    played = play(best_of(3, waves="all", prune_at=[40]), pool)
    assert played.states == ["finished", "pruned", "finished"]


def test_equal_scores_prune_nothing_and_do_not_count(play: Any) -> None:
    pool = [trace(100, answer, 0.5, {40: 0.5}) for answer in "abb"]
    played = play(best_of(3, waves="all", prune_at=[40]), pool)
    assert played.states == ["finished"] * 3
    assert played.answer == "b"
    assert "all their scores are equal" in played.outcome.decision.reason


def test_annealing_starts_greedy() -> None:
    policy = BestOfN(best_of(4, waves="all", temperature=0.8))
    assert policy.begin() == [Spawn(0.0), Spawn(0.4), Spawn(pytest.approx(0.6)), Spawn(pytest.approx(0.7))]
    assert BestOfN(best_of(1, anneal=False, temperature=0.8)).begin() == [Spawn()]


def test_traces_without_a_score_weigh_the_mean_of_the_others(play: Any) -> None:
    pool = [trace(10, "a", 0.4), RecordedTrace(10, "b"), RecordedTrace(10, "b")]
    assert play(best_of(3, waves="all"), pool).outcome.decision.votes == {"b": pytest.approx(0.8), "a": 0.4}


def test_where_self_evaluation_fails_all_traces_vote() -> None:
    policy = BestOfN(best_of(3))
    assert policy.begin() == [Spawn()]
    assert policy.on(Finished(0, 10, "a")) == [Evaluate((0,))]
    assert policy.on(Evaluated((0,), {}, "no probabilities")) == [Spawn()]
    assert policy.on(Finished(1, 10, "b")) == [Spawn()]
    (decision,) = policy.on(Finished(2, 10, "b"))
    assert isinstance(decision, Decide)
    assert decision.answer == "b"
    assert decision.votes == {"b": 2.0, "a": 1.0}
    assert "without self-evaluation" in decision.reason


def test_a_score_of_a_running_trace_does_not_stand_for_its_end() -> None:
    policy = BestOfN(best_of(2, waves="all", prune_at=[8], threshold=0.9))
    policy.begin()
    assert policy.on(Grew(0, 8)) == []
    assert policy.on(Grew(1, 8)) == [Evaluate((0, 1))]
    assert policy.on(Finished(1, 12, "b")) == [Evaluate((1,))]
    assert policy.on(Evaluated((0, 1), {0: SelfScore(0.5), 1: SelfScore(0.95)})) != []
    (decision,) = policy.on(Evaluated((1,), {1: SelfScore(0.2)}))
    assert decision.votes == {"b": 0.2}


def test_a_failed_trace_does_not_hold_up_its_wave(play: Any) -> None:
    pool = [trace(10, "a", 0.4), trace(10, "b", 0.4), trace(10, "b", 0.4)]
    assert play(best_of(3), pool, failing={0}).answer == "b"
    policy = BestOfN(best_of(2))
    policy.begin()
    assert policy.on(Failed(0, 3)) == [Spawn()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prune_at": [0]}, "1 token or more"),
        ({"keep": 0.25}, "keep only with prune_at"),
        ({"keep": [0.5, 0.5], "prune_at": [32]}, "keep holds 2 shares and prune_at 1 lengths; give one"),
        ({"keep": [0.5, 0.0], "prune_at": [32, 64]}, "greater than 0"),
        ({"self_eval_model": "folder"}, "only with self_eval = adapter or head"),
    ],
)
def test_what_would_have_no_effect_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BestOfNOptions(**options)


def test_answers_may_come_in_any_order() -> None:
    policy = BestOfN(best_of(2, waves="all"))
    policy.begin()
    assert policy.on(Finished(0, 9, "a")) == [Evaluate((0,))]
    assert policy.on(Finished(1, 10, "b")) == [Evaluate((1,))]
    assert policy.on(Evaluated((1,), {1: SelfScore(0.2)})) == []
    (decision,) = policy.on(Evaluated((0,), {0: SelfScore(0.4)}))
    assert decision.votes == {"a": 0.4, "b": 0.2}


@pytest.mark.parametrize("keep", [0, 1.5, [0.5, 2], "much"])
def test_a_wrong_share_is_named_by_its_field_alone(keep: object) -> None:
    field = {"parallel": {"policy": "best_of_n", "prune_at": [32, 64], "keep": keep}}
    with pytest.raises(RequestError, match=r"^reasonprune\.parallel\.keep: it is .* or a list of one each") as caught:
        validate(Options, field, "reasonprune")
    assert caught.value.param == "reasonprune.parallel.keep"
