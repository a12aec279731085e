import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.policy_options import EscOptions


@pytest.mark.parametrize(
    ("answers", "n", "started", "answer"),
    [
        ("aaa", 9, 3, "a"),
        ("aabbbb", 9, 6, "b"),
        ("---aaa", 9, 6, "a"),  # a window without any answer does not agree
        ("aa-aaa", 9, 6, "a"),
        ("abcabcabc", 9, 9, "a"),
        ("abaab", 5, 5, "a"),  # the last window is cut
        ("aa", 2, 2, "a"),
    ],
)
def test_windows_until_one_is_unanimous(play, answers, n, started, answer):
    traces = [RecordedTrace(10, None if a == "-" else a) for a in answers]
    played = play(EscOptions(n=n, window=3), traces)
    assert len(played.started) == started
    assert played.answer == answer
    unanimous = started % 3 == 0 and answers[started - 3 : started] == answer * 3
    expected = "all 3 traces of a window agree" if unanimous else f"n = {n} traces finished without a unanimous window"
    assert played.outcome.decision.reason == expected


def test_windows_wait_for_each_other(play):
    played = play(EscOptions(n=4, window=2), [RecordedTrace(t, str(t)) for t in (10, 30, 5, 5)])
    assert [trace.started_at for trace in played.outcome.traces.values()] == [0, 0, 30, 30]


def test_a_failed_trace_spoils_its_window(play):
    played = play(EscOptions(n=4, window=2), [RecordedTrace(10, "a")] * 4, failing={1})
    assert played.states == ["finished", "failed", "finished", "finished"]
