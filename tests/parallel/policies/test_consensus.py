import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.options import ConsensusOptions
from reasonprune.parallel.votes import beats_runner_up


def pool(answers: str) -> list[RecordedTrace]:
    """Traces that finish one after the other; `-` gives no answer."""
    return [RecordedTrace(10 * (i + 1), None if a == "-" else a) for i, a in enumerate(answers)]


@pytest.mark.parametrize(("threshold", "needed"), [(0.6, 1), (0.75, 1), (0.8, 2), (0.9, 3), (0.95, 4), (0.99, 6)])
def test_agreeing_traces_stop_as_soon_as_the_threshold_allows(play, threshold, needed):
    assert beats_runner_up(needed, 0) >= threshold > beats_runner_up(needed - 1, 0)
    played = play(ConsensusOptions(n=8, threshold=threshold), pool("a" * 8))
    assert played.states == ["finished"] * needed + ["pruned"] * (8 - needed)
    assert played.outcome.decision.reason.startswith(f"the leader is safe: after {needed} traces")


@pytest.mark.parametrize(
    ("answers", "ended", "answer"),
    [
        ("aaaaaaaa", 3, "a"),
        ("-aaaaaaa", 4, "a"),
        ("abaaaaaa", 6, "a"),
        ("ababcaba", 7, "a"),  # the quorum: 80% of 8
    ],
)
def test_answers_are_counted_in_order_of_finishing(play, answers, ended, answer):
    played = play(ConsensusOptions(n=8), pool(answers))
    assert played.states.count("finished") == ended
    assert played.answer == answer


@pytest.mark.parametrize(
    ("quorum", "start", "ended"), [(0.5, 4, 2), (0.8, 5, 4), (0.28, 25, 7), (0.01, 4, 1), (1.0, 4, 4)]
)
def test_the_quorum_decides_however_close(play, quorum, start, ended):
    letters = "abcdefghijklmnopqrstuvwxy"
    played = play(ConsensusOptions(n=start, start=start, quorum=quorum), pool(letters[:start]))
    assert played.states.count("finished") == ended
    assert played.answer == "a"


def test_a_tie_late_in_the_wave_brings_in_another_trace(play):
    played = play(ConsensusOptions(n=6, start=4, quorum=1.0), [*pool("abab"), *(RecordedTrace(5, "a"),) * 2])
    assert [trace.started_at for trace in played.outcome.traces.values()] == [0, 0, 0, 0, 20]
    assert played.outcome.traces[4].state == "finished"
    assert played.answer == "a"


def test_an_early_tie_does_not(play):
    assert len(play(ConsensusOptions(n=16), pool("abaaaaaa" + "c" * 8)).started) == 8


@pytest.mark.parametrize(("n", "start", "wave"), [(16, None, 8), (3, None, 3), (16, 12, 12), (4, 12, 4)])
def test_the_first_wave(play, n, start, wave):
    assert len(play(ConsensusOptions(n=n, start=start), pool("a" * 16)).started) == wave


def test_failed_traces_count_as_ended_but_not_as_votes(play):
    played = play(ConsensusOptions(n=4, quorum=1.0), pool("aabb"), failing={0, 1})
    assert played.outcome.decision.votes == {"b": 2}
