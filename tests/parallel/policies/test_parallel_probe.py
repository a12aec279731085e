import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.policy_options import ParallelProbeOptions


def trace(probes: str, answer: str | None = None, tokens: int | None = None) -> RecordedTrace:
    """Probed every 10 tokens, `-` where there was no answer."""
    answers = {10 * (i + 1): None if a == "-" else a for i, a in enumerate(probes)}
    return RecordedTrace(tokens or 10 * len(probes) + 5, answer, answers)


def options(n: int, **others: int) -> ParallelProbeOptions:
    return ParallelProbeOptions(**{"n": n, "every": 10, "stable": 3, "patience": 2, "warmup": 0, **others})


def test_a_stable_majority_ends_the_race_by_force(play):
    played = play(options(3), [trace("abaaaaaa"), trace("aaaaaaaa"), trace("cbbbaaaa")], probe_cost=4)
    decision = played.outcome.decision
    assert (decision.answer, decision.forced) == ("a", True)
    assert decision.reason == "the majority held for 3 rounds"
    assert played.outcome.kept == (0,)
    assert played.race.probe_tokens == 4 * played.outcome.probes
    assert played.states == ["pruned"] * 3


def test_a_finished_trace_of_the_majority_is_returned_unforced(play):
    played = play(options(3), [trace("aaaaaaaa"), trace("a", "a", 15), trace("bbbbbbbb")])
    assert not played.outcome.decision.forced
    assert played.outcome.kept == (1,)
    assert played.outcome.decision.ranking[0] == 1


def test_traces_that_keep_disagreeing_are_stopped(play):
    played = play(options(3, stable=9), [trace("aaaa", "a"), trace("aaaa", "a"), trace("abbb", "b")])
    assert played.states == ["finished", "finished", "pruned"]
    assert played.outcome.traces[2].reason == "disagreed with the majority for 2 probes in a row"
    assert played.race.tokens(2) == 30
    assert played.outcome.decision.reason == "all traces ended before the majority was stable"


@pytest.mark.parametrize(("warmup", "tokens"), [(0, 20), (2, 30), (3, 40)])
def test_no_trace_is_stopped_during_warm_up(play, warmup, tokens):
    pool = [trace("aaaa", "a"), trace("aaaa", "a"), trace("bbbb", "b")]
    played = play(options(3, stable=9, warmup=warmup), pool)
    assert played.race.tokens(2) == tokens


def test_rounds_without_any_answer_are_not_a_majority(play):
    played = play(options(2, stable=2), [trace("---a", "a"), trace("----", "b")])
    assert played.answer == "a"
    assert played.states == ["finished", "finished"]


def test_a_failed_trace_does_not_hold_up_a_round(play):
    pool = [trace("aaaaaa"), trace("a", None, 15), trace("aaaaaa")]
    played = play(options(3), pool, failing={1})
    assert played.states == ["pruned", "failed", "pruned"]
    assert played.outcome.decision.reason == "the majority held for 3 rounds"
