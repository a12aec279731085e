import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.engine.pool import RecordedTrace
from reasonprune.parallel.policies.deepconf import DeepConf, SlidingMinimum, percentile
from reasonprune.policy_options import DeepConfOptions

levels = st.lists(st.floats(0, 30), min_size=1, max_size=60)


def trace(answer: str | None, *confidences: float, each: int = 32) -> RecordedTrace:
    spread = tuple(value for value in confidences for _ in range(each))
    return RecordedTrace(len(spread), answer, confidences=spread)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([3], 90, 3), ([1, 2, 3, 4, 5], 50, 3), ([4, 1, 3, 2], 50, 2.5), ([1, 2], 10, 1.1), ([1, 2, 3], 100, 3)],
)
def test_percentile(values, percent, expected):
    assert percentile(values, percent) == pytest.approx(expected)


@given(values=levels, window=st.integers(1, 70), cut=st.integers(0, 60))
def test_sliding_minimum_is_that_of_all_windows(values, window, cut):
    sliding = SlidingMinimum(window)
    sliding.extend(values[:cut])
    sliding.extend(values[cut:])
    means = [sum(values[i : i + window]) / window for i in range(len(values) - window + 1)]
    assert sliding.lowest == pytest.approx(min(means), abs=1e-9) if means else sliding.lowest is None
    assert sliding.final == pytest.approx(min(means) if means else sum(values) / len(values), abs=1e-9)


def test_nothing_seen_is_no_confidence():
    assert SlidingMinimum(4).final == 0


def test_traces_below_the_bar_are_stopped(play):
    options = DeepConfOptions(n=4, warmup=2, window=32, threshold=1.0)
    pool = [trace("a", 5, 5), trace("b", 6, 6), trace("c", 9, 1, 9, 9), trace("a", 9, 9, 9)]
    played = play(options, pool)
    assert played.states == ["finished", "finished", "pruned", "finished"]
    assert played.outcome.traces[2].reason == "lowest window confidence 1.00 is below the bar of 5.10"
    assert played.race.tokens(2) == 64
    assert played.outcome.decision.votes == {"a": 14.0, "b": 6.0}
    assert played.outcome.kept == (3,)  # the most confident trace of the leading answer


@pytest.mark.parametrize(("mode", "states"), [("high", ["finished"] * 5), ("low", ["finished"] * 4 + ["pruned"])])
def test_low_keeps_fewer_traces_than_high(play, mode, states):
    pool = [trace(a, level) for a, level in zip("abcd", (2, 4, 6, 8), strict=True)] + [trace("a", 5, 5, 5)]
    assert play(DeepConfOptions(n=5, warmup=4, window=32, mode=mode), pool).states == states


def test_confident_votes_outweigh_many(play):
    pool = [trace("a", 1), trace("a", 1), trace("b", 9)]
    assert play(DeepConfOptions(n=3, warmup=3, window=32), pool).answer == "b"


def test_an_agreed_warm_up_is_enough(play):
    played = play(DeepConfOptions(n=8, warmup=2, window=32), [trace("a", 5)] * 8)
    assert played.started == [0, 1]
    assert played.outcome.decision.reason == "leader holds 100% of the weighted vote"


def test_traces_without_confidence_still_vote(play):
    played = play(
        DeepConfOptions(n=2, warmup=2), [RecordedTrace(0, "a", confidences=()), RecordedTrace(0, "a", confidences=())]
    )
    assert played.answer == "a"


def test_the_reason_tells_when_no_window_was_ever_full(play):
    reason = play(DeepConfOptions(n=2, warmup=2), [trace("a", 5), trace("b", 5)]).outcome.decision.reason
    assert reason == "all traces ended; no trace filled a window of 2048 tokens, so none could be stopped"


def test_a_failed_warm_up_trace_does_not_hold_up_the_rest(play):
    played = play(DeepConfOptions(n=3, warmup=2, window=32), [trace("a", 5)] * 3, failing={0, 1})
    assert played.states == ["failed", "failed", "finished"]


def test_it_asks_for_confidences():
    assert DeepConf(DeepConfOptions()).signals.confidences
