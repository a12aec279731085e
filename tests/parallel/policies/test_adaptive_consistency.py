import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.policy_options import AdaptiveConsistencyOptions


@pytest.mark.parametrize(
    ("answers", "threshold", "started"),
    [
        ("aaaaaaaa", 0.95, 4),
        ("aaaaaaaa", 0.9, 3),
        ("abaaaaaa", 0.9, 6),
        ("-aaaaaaa", 0.9, 4),
        ("abababab", 0.9, 8),
    ],
)
def test_it_stops_when_the_leader_is_safe(play, answers, threshold, started):
    traces = [RecordedTrace(10, None if a == "-" else a) for a in answers]
    played = play(AdaptiveConsistencyOptions(n=8, threshold=threshold), traces)
    assert played.answer == "a"
    assert played.started == list(range(started))
    assert played.race.now == 10 * started  # one after the other


def test_a_failed_trace_is_followed_by_another(play):
    played = play(AdaptiveConsistencyOptions(n=4, threshold=0.9), [RecordedTrace(10, "a")] * 4, failing={0})
    assert played.states == ["failed", "finished", "finished", "finished"]
    assert "leader beats runner-up with probability 0.938" in played.outcome.decision.reason


def test_the_reason_tells_when_nothing_was_safe(play):
    played = play(AdaptiveConsistencyOptions(n=2), [RecordedTrace(10, "a"), RecordedTrace(10, "b")])
    assert played.outcome.decision.reason == "n = 2 traces finished without a safe leader"
