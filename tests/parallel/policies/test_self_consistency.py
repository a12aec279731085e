import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.policy_options import SelfConsistencyOptions


@pytest.mark.parametrize(
    ("answers", "answer", "kept"),
    [
        ("aab", "a", 0),
        ("abb", "b", 1),
        ("ab-", "a", 0),  # a tie goes to the answer that came first
        ("--c", "c", 2),
    ],
)
def test_every_trace_runs_and_the_majority_wins(play, answers, answer, kept):
    traces = [RecordedTrace(10 + i, None if a == "-" else a) for i, a in enumerate(answers)]
    played = play(SelfConsistencyOptions(n=3), traces)
    assert played.states == ["finished"] * 3
    assert (played.answer, played.outcome.kept) == (answer, (kept,))
    assert played.outcome.decision.reason == "majority of 3 finished traces"


def test_failed_traces_do_not_vote(play):
    played = play(SelfConsistencyOptions(n=3), [RecordedTrace(10, a) for a in "aab"], failing={0, 1})
    assert played.answer == "b"
    assert played.outcome.decision.reason == "majority of 1 finished traces"
