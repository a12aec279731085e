from collections import Counter
from dataclasses import replace

import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.parallel.votes import beats_runner_up
from reasonprune.policy_options import ConsensusOptions


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
        ("abaaaaaa", 5, "a"),  # four to one
        ("ababcaba", 7, "a"),  # the quorum: 80% of 8
    ],
)
def test_answers_are_counted_in_order_of_finishing(play, answers, ended, answer):
    played = play(ConsensusOptions(n=8, short=0), pool(answers))
    assert played.states.count("finished") == ended
    assert played.answer == answer


@pytest.mark.parametrize(
    ("quorum", "start", "ended"), [(0.5, 4, 2), (0.8, 5, 4), (0.28, 25, 7), (0.01, 4, 1), (1.0, 4, 4)]
)
def test_the_quorum_decides_however_close(play, quorum, start, ended):
    letters = "abcdefghijklmnopqrstuvwxy"
    played = play(ConsensusOptions(n=start, start=start, quorum=quorum, short=0), pool(letters[:start]))
    assert played.states.count("finished") == ended
    assert played.answer == "a"


def test_a_tie_late_in_the_wave_brings_in_another_trace(play):
    traces = [*pool("abab"), *(RecordedTrace(5, "a"),) * 2]
    played = play(ConsensusOptions(n=6, start=4, quorum=1.0, short=0), traces)
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


def longer(traces: list[RecordedTrace], by: int) -> list[RecordedTrace]:
    return [replace(trace, tokens=trace.tokens + by) for trace in traces]


@pytest.mark.parametrize(
    ("answers", "ended", "started"),
    [
        ("abcaaaaabcab", 6, 8),  # 4 to 1 before the quorum: nothing is spawned
        ("abaabccabcab", 12, 12),  # 3 to 2 at the quorum, and never safe after it
    ],
)
def test_short_traces_bring_in_more_instead_of_a_close_decision(play, answers, ended, started):
    played = play(ConsensusOptions(n=12), pool(answers))
    assert (played.states.count("finished"), len(played.started)) == (ended, started)


def test_at_the_quorum_half_as_many_as_were_started_run_again(play):
    played = play(ConsensusOptions(n=32), pool("abaabcc" + "bacbacbac" + "b" * 16))
    started_at = Counter(trace.started_at for trace in played.outcome.traces.values())
    # At 70 tokens one of eight runs still, at 80 three of eleven; then some come whenever one ends.
    assert [started_at[time] for time in (0, 70, 80)] == [8, 3, 2]
    for time, expected in ((70, 8 // 2), (80, 11 // 2)):
        traces = [trace for trace in played.outcome.traces.values() if trace.started_at <= time]
        assert sum(trace.ended_at is None or trace.ended_at > time for trace in traces) == expected


def test_short_traces_never_bring_in_more_than_n(play):
    letters = "abcdefghijklm"
    played = play(ConsensusOptions(n=11), pool(letters))
    assert len(played.started) == 11
    assert played.states == ["finished"] * 11
    assert played.outcome.decision.reason.startswith("a quorum has ended: after 11 traces")


@pytest.mark.parametrize(("tokens", "decided_at_the_quorum"), [(1024, False), (1025, True)])
def test_a_race_is_short_as_long_as_no_finished_trace_is_longer(play, tokens, decided_at_the_quorum):
    traces = [*pool("abaabc"), RecordedTrace(tokens, "c"), *pool("babababab")]
    traces[7] = RecordedTrace(5000, "a")  # still runs, so its length is not known
    played = play(ConsensusOptions(n=16), traces)
    assert (played.states.count("finished") == 7) is decided_at_the_quorum
    assert (len(played.started) == 8) is decided_at_the_quorum


def test_a_long_trace_is_not_forgotten_when_short_ones_follow(play):
    traces = [*pool("a"), *[RecordedTrace(tokens, "b") for tokens in (2000, 3000, 3000)], *pool("cdefghijklmn")]
    played = play(ConsensusOptions(n=16, start=4), traces)
    assert played.outcome.decision.reason.startswith("a quorum has ended: after 4 traces")


def test_a_new_answer_that_makes_the_leader_safe_stops_short_races_too(play):
    played = play(ConsensusOptions(n=16), [*pool("abaabcc"), RecordedTrace(1000, "d"), *longer(pool("aaaaaaaa"), 100)])
    assert played.answer == "a"
    assert played.outcome.decision.reason.startswith("the leader is safe: after 10 traces")
    assert played.states.count("finished") == 10


def test_where_the_first_wave_fails_others_answer(play):
    played = play(ConsensusOptions(n=16), pool("-" * 8 + "a" * 8), failing=set(range(8)))
    assert (played.answer, played.outcome.traces[played.outcome.kept[0]].state) == ("a", "finished")
