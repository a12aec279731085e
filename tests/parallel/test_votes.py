import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.parallel.votes import Ballot, beats_runner_up

counts = st.integers(0, 40)


def ballot(*answers: str | None) -> Ballot:
    made = Ballot()
    for trace, answer in enumerate(answers):
        made.add(trace, answer)
    return made


@pytest.mark.parametrize(
    ("leader", "runner_up", "probability"),
    [(0, 0, 0.5), (1, 0, 0.75), (2, 0, 0.875), (3, 0, 0.9375), (1, 1, 0.5), (2, 1, 0.6875), (4, 1, 0.890625)],
)
def test_known_probabilities(leader, runner_up, probability):
    assert beats_runner_up(leader, runner_up) == probability


@given(leader=counts, runner_up=counts)
def test_it_is_the_tail_of_a_beta_distribution(leader, runner_up):
    stats = pytest.importorskip("scipy.stats")
    assert beats_runner_up(leader, runner_up) == pytest.approx(stats.beta.sf(0.5, leader + 1, runner_up + 1))


@given(leader=counts, runner_up=counts)
def test_the_two_answers_share_all_probability(leader, runner_up):
    assert beats_runner_up(leader, runner_up) + beats_runner_up(runner_up, leader) == pytest.approx(1)
    assert beats_runner_up(leader + 1, runner_up) > beats_runner_up(leader, runner_up)


def test_votes_are_ordered_by_weight_then_by_arrival():
    assert list(ballot("b", "a", None, "a", "c").votes.items()) == [("a", 2), ("b", 1), ("c", 1)]


def test_confidence_compares_the_two_leaders():
    assert ballot().confidence == 0
    assert ballot(None, None).confidence == 0
    assert ballot("a", None).confidence == 0.75
    assert ballot("a", "b", "a", "c").confidence == beats_runner_up(2, 1)


def test_the_ranking_follows_the_votes():
    decision = ballot("b", None, "a", "a", "b", "a").decide("because")
    assert decision.answer == "a"
    assert decision.ranking == (2, 3, 5, 0, 4, 1)
    assert decision.reason == "because"


def test_weights_decide_and_rank():
    weighted = Ballot()
    for trace, (answer, weight) in enumerate([("a", 1.0), ("b", 3.0), ("a", 1.5), (None, 9.0)]):
        weighted.add(trace, answer, weight)
    decision = weighted.decide("because")
    assert decision.votes == {"b": 3.0, "a": 2.5}
    assert decision.ranking == (1, 2, 0, 3)


def test_among_equal_answers_the_best_trace_is_one_of_the_leader():
    tied = Ballot()
    for trace, (answer, weight) in enumerate([("a", 0.5), ("b", 2.0), ("a", 1.5)]):
        tied.add(trace, answer, weight)
    decision = tied.decide("because")
    assert (decision.answer, decision.ranking) == ("a", (2, 0, 1))


@pytest.mark.parametrize(
    ("answers", "ranking", "reason"),
    [
        ((None, None), (0, 1), "no trace gave an answer that could be found, so the first to finish is returned"),
        ((), (), "no trace finished"),
    ],
)
def test_without_an_answer_the_reason_says_so(answers, ranking, reason):
    decision = ballot(*answers).decide("all ended")
    assert decision.answer is None
    assert decision.ranking == ranking
    assert decision.reason == f"all ended; {reason}"
