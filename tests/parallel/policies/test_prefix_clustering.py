from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.judges.judge import Judgement, Pair
from reasonprune.parallel.policies.deepprune import deepprune
from reasonprune.parallel.policies.prefix_clustering import PrefixClustering
from reasonprune.parallel.protocol import Decide, Failed, Finished, Grew, Judge, Judged, Prune, Spawn
from reasonprune.policy_options import DeepPruneOptions

PREFIX = 10
REDUNDANT = "judged to end like a trace that goes on"


def options(n: int, **settings) -> DeepPruneOptions:
    return DeepPruneOptions(**{"when": "prefix", "n": n, "prefix": PREFIX} | settings)


def traces(answers: str, probes: str | None = None, first: int = 100) -> list[RecordedTrace]:
    """Traces that end ten tokens after each other; `probes` are their answers at the prefix, `-` stands for none."""
    given = [None if a == "-" else a for a in answers]
    forced = [None if a == "-" else a for a in probes or answers]
    return [RecordedTrace(first + 10 * i, a, {PREFIX: forced[i]}) for i, a in enumerate(given)]


@dataclass
class Groups:
    """A judge to whom traces of one letter are alike, by `alike`, and all others not at all."""

    letters: str
    alike: float = 1.0

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        return Judgement([self.alike if self.letters[a.trace] == self.letters[b.trace] else 0.0 for a, b in pairs])


def test_the_option_chooses_the_policy():
    assert isinstance(deepprune(options(3)), PrefixClustering)
    assert not isinstance(deepprune(DeepPruneOptions()), PrefixClustering)


def test_the_signals_ask_for_growth_at_the_prefix_and_a_judge():
    signals = deepprune(options(3)).signals
    assert (signals.every, signals.judges, signals.probes, signals.confidences) == (PREFIX, True, False, False)


@pytest.mark.parametrize(("n", "start", "wave"), [(12, None, 12), (12, 5, 5), (3, 5, 3)])
def test_all_traces_start_at_once(play, n, start, wave):
    assert len(play(options(n, start=start), traces("a" * 12)).started) == wave


def test_traces_are_visited_in_order_once_all_have_reached_the_prefix(play):
    played = play(options(4), traces("xyxy"), judge=Groups("abab"))
    assert [set(pairs) for pairs in played.judged] == [{(1, 0)}, {(2, 0), (2, 1)}, {(3, 0), (3, 1), (3, 2)}]
    before = played.race.notes[: played.race.notes.index(("judge", ((1, 0),)))]
    assert {("event", Grew(trace, PREFIX)) for trace in range(4)} <= set(before)


def test_clustering_is_done_once(play):
    played = play(options(4), traces("xyzw"), judge=Groups("abcd"))
    assert len(played.judged) == 3


def test_redundant_traces_are_stopped_where_all_were_judged(play):
    played = play(options(4, finish=1), traces("xxxx"), judge=Groups("aaaa"))
    assert Counter(played.states) == {"finished": 1, "pruned": 3}
    pruned = [trace for trace in played.outcome.traces.values() if trace.state == "pruned"]
    assert {(trace.reason, trace.ended_at) for trace in pruned} == {(REDUNDANT, PREFIX)}


@pytest.mark.parametrize(("threshold", "clusters"), [(0.49, 1), (0.5, 3)])
def test_alike_is_above_the_threshold(play, threshold, clusters):
    played = play(options(3, threshold=threshold, finish=1), traces("xyz"), judge=Groups("aaa", alike=0.5))
    assert played.states.count("pruned") == (2 if clusters == 1 else 0)


def test_a_trace_is_compared_with_few_of_each_cluster(play):
    played = play(options(9, comparisons=2), traces("x" * 9), judge=Groups("aaaabbbba"))
    asked = [Counter("aaaabbbba"[member] for _, member in pairs) for pairs in played.judged]
    assert asked[:3] == [{"a": 1}, {"a": 2}, {"a": 2}]
    assert asked[-1] == {"a": 2, "b": 2}
    assert all(len(set(pairs)) == len(pairs) for pairs in played.judged)
    assert all({trace for trace, _ in pairs} == {visited} for visited, pairs in enumerate(played.judged, 1))


@pytest.mark.parametrize(("most", "noted"), [(1, 1), (2, 2), (3, 3), (9, 4)])
def test_at_most_so_many_clusters_are_opened(play, most, noted):
    played = play(options(5, clusters=most), traces("vwxyz"), judge=Groups("abcda"))
    assert f"; {noted} clusters voted" in played.outcome.decision.reason


@pytest.mark.parametrize(("fallback", "finished"), [(1, 1), (3, 3), (9, 5)])
def test_where_no_two_are_alike_some_are_finished(play, fallback, finished):
    settings = options(5, fallback=fallback, finish=9)
    played = play(settings, traces("vwxyz"), judge=Groups("abcde"))
    assert Counter(played.states)["finished"] == finished
    assert played.outcome.decision.reason.endswith("; no two of 5 traces were judged alike")
    assert set(played.outcome.decision.votes.values()) == {1}


@pytest.mark.parametrize(("vote", "answer"), [("largest", "x"), ("weighted", "y")])
def test_the_largest_cluster_votes_alone_or_all_with_their_size(play, vote, answer):
    # Two clusters of two come to the same answer in the end, against one of three.
    played = play(options(7, vote=vote), traces("xxxyyyy"), judge=Groups("aaabbcc"))
    assert played.answer == answer
    assert set(played.outcome.decision.votes) == ({"x"} if vote == "largest" else {"x", "y"})


@pytest.mark.parametrize(("finish", "finished"), [(1, 3), (3, 3), (4, 4), (7, 7)])
def test_a_cluster_weighs_as_much_as_it_has_traces_whatever_share_is_finished(play, finish, finished):
    played = play(options(7, finish=finish), traces("xxxyyzz"), judge=Groups("aaabbcc"))
    assert played.outcome.decision.votes == {"x": 3, "y": 2, "z": 2}
    assert played.states.count("finished") == finished


@pytest.mark.parametrize(
    ("finish", "sampled"),
    [(1, {"a": 1, "b": 1}), (4, {"a": 3, "b": 1}), (8, {"a": 6, "b": 2}), (99, {"a": 6, "b": 2})],
)
def test_the_finish_budget_is_shared_out_by_size(finish, sampled):
    policy = visited(options(8, finish=finish), "aaaaaabb")
    assert Counter("aaaaaabb"[trace] for trace in policy._running) == sampled


@pytest.mark.parametrize(("finish", "finished"), [(1, 1), (2, 2), (4, 4), (9, 5)])
def test_at_most_so_many_of_the_largest_cluster_are_finished(finish, finished):
    policy = visited(options(7, finish=finish, vote="largest"), "aababaa")
    assert len(policy._running) == finished
    assert policy._running <= {0, 1, 3, 5, 6}


@pytest.mark.parametrize("vote", ["largest", "weighted"])
def test_traces_that_all_are_alike_make_one_cluster(play, vote):
    # Their answers differ in the end.
    played = play(options(5, finish=2, vote=vote), traces("vwxyz", probes="aaaaa"))
    assert Counter(played.states) == {"finished": 2, "pruned": 3}
    assert set(played.outcome.decision.votes.values()) == ({1} if vote == "largest" else {2.5})


def test_the_rest_is_stopped_once_it_cannot_change_the_leader(play):
    played = play(options(6), traces("xxxxyy"), judge=Groups("aaaabb"))
    # Four to none with two open.
    assert played.states == ["finished"] * 4 + ["pruned"] * 2
    assert played.outcome.decision.reason == (
        "the vote is decided after 4 traces; 2 clusters voted, each with the weight of its traces"
    )


def test_the_rest_is_awaited_while_it_could_draw_level(play):
    played = play(options(4), traces("xxyy"), judge=Groups("aabb"))
    assert played.states == ["finished"] * 4
    assert played.outcome.decision.votes == {"x": 2, "y": 2}


def test_weights_decide_before_the_light_have_ended(play):
    played = play(options(5, finish=1), [*traces("xxxx"), RecordedTrace(500, "y")], judge=Groups("aaaab"))
    assert played.outcome.decision.votes == {"x": 4}
    assert played.outcome.decided_at < 500


def test_forced_answers_are_the_judge_and_each_trace_is_forced_once(play):
    played = play(options(4, finish=2), traces("xxyx", probes="xxxy"), probe_cost=7)
    assert (played.forced, played.race.probe_tokens) == (4, 28)
    assert "; 2 clusters voted" in played.outcome.decision.reason


def test_traces_that_end_before_the_prefix_are_visited_too(play):
    short = [RecordedTrace(4, "x"), RecordedTrace(5, "y")]
    played = play(options(4, finish=1), [*short, *traces("zz", probes="xy")])
    # Those that have ended cost nothing more: nothing else needs to be finished.
    assert played.states == ["finished", "finished", "pruned", "pruned"]
    assert played.outcome.decision.votes == {"x": 2, "y": 2}
    assert (played.outcome.decided_at, played.forced) == (PREFIX, 2)


def test_ended_traces_outside_the_largest_cluster_do_not_vote(play):
    short = [RecordedTrace(4, "y"), RecordedTrace(5, "y"), RecordedTrace(6, "y")]
    played = play(options(7, vote="largest", finish=1), [*short, *traces("xxxx")], judge=Groups("bbbaaaa"))
    assert played.answer == "x"
    assert played.outcome.decision.votes == {"x": 1, "y": 0}
    assert played.outcome.decision.reason.endswith("; the largest of 2 clusters voted, 4 traces")


def test_more_ended_traces_than_the_budget_still_weigh_as_their_cluster(play):
    short = [RecordedTrace(tokens, "x") for tokens in (4, 5, 6)]
    played = play(options(5, finish=1), [*short, *traces("yy")], judge=Groups("aaabb"))
    assert played.outcome.decision.votes == {"x": 3}


def test_a_trace_that_ends_while_the_judge_is_busy_counts_as_ended(play):
    # Each of three visits takes 8 tokens; trace 2 ends during the first.
    pool = [RecordedTrace(tokens, "x", {PREFIX: "x"}) for tokens in (100, 100, 12, 100)]
    played = play(options(4, finish=1, vote="largest"), pool, probe_cost=8)
    assert played.states == ["pruned", "pruned", "finished", "pruned"]
    assert played.outcome.decided_at == PREFIX + 3 * 8


def test_a_single_trace_is_not_judged(play):
    played = play(options(1), traces("x"))
    assert (played.judged, played.answer, played.states) == ([], "x", ["finished"])


@pytest.mark.parametrize("vote", ["largest", "weighted"])
def test_where_nobody_answers_the_first_to_finish_is_returned(play, vote):
    played = play(options(3, vote=vote), traces("---"))
    assert (played.answer, played.outcome.kept, played.outcome.decision.votes) == (None, (0,), {})
    assert "no two of 3 traces were judged alike; no trace gave an answer" in played.outcome.decision.reason


def test_where_the_chosen_give_no_answer_one_that_ended_before_does(play):
    played = play(options(3, vote="largest"), [RecordedTrace(4, "y"), *traces("--")], judge=Groups("baa"))
    assert played.answer == "y"


def test_traces_that_fail_before_the_prefix_are_not_visited(play):
    pool = [RecordedTrace(4, "y"), *traces("xxx")]
    played = play(options(4), pool, judge=Groups("aaaa"), failing={0})
    assert [{trace for pair in pairs for trace in pair} for pairs in played.judged] == [{1, 2}, {1, 2, 3}]
    assert set(played.outcome.decision.votes) == {"x"}


def test_where_all_fail_early_nothing_is_judged(play):
    played = play(options(3), [*[RecordedTrace(4, "y")] * 3, *traces("x")], failing={0, 1, 2})
    assert (played.judged, played.outcome.kept) == ([], (3,))


def test_a_chosen_trace_that_fails_leaves_the_others_to_vote(play):
    played = play(options(4), traces("yxxx"), judge=Groups("abbb"), failing={0, 1})
    assert played.outcome.decision.votes == {"x": 2}


# What follows are sequences of events, since a replay's judge does not fail.


def begun(settings: DeepPruneOptions) -> PrefixClustering:
    policy = PrefixClustering(settings)
    assert policy.begin() == [Spawn()] * settings.first_wave
    return policy


def visited(settings: DeepPruneOptions, letters: str) -> PrefixClustering:
    """The policy after all visits; traces of the same letter are alike."""
    policy = begun(settings)
    actions = [action for trace in range(settings.first_wave) for action in policy.on(Grew(trace, PREFIX))]
    while actions and isinstance(actions[0], Judge):
        actions = policy.on(Judged({(a, b): float(letters[a] == letters[b]) for a, b in actions[0].pairs}))
    assert all(action.reason == REDUNDANT for action in actions)
    assert {action.trace for action in actions} == set(range(settings.first_wave)) - policy._running
    return policy


def test_nothing_is_judged_before_the_last_has_reached_the_prefix():
    policy = begun(options(4))
    for event in (Grew(2, PREFIX), Finished(0, 8, "x"), Grew(2, 2 * PREFIX), Grew(1, PREFIX)):
        assert policy.on(event) == []
    assert policy.on(Failed(3, 9)) == [Judge(((1, 0),))]


def test_nothing_is_decided_before_the_last_was_visited():
    policy = begun(options(3))
    for trace in (0, 1):
        assert policy.on(Finished(trace, 8, "x")) == []
    assert policy.on(Grew(2, PREFIX)) == [Judge(((1, 0),))]
    assert policy.on(Grew(2, 2 * PREFIX)) == []
    assert isinstance(policy.on(Judged({(1, 0): 1.0}))[0], Judge)
    (decision,) = policy.on(Judged({(2, 0): 0.0, (2, 1): 0.0}))
    assert decision.votes == {"x": 2}


@pytest.mark.parametrize("visits", [0, 1])
def test_without_its_judge_all_go_on_and_vote_alike(visits):
    policy = begun(options(4, finish=1))
    policy.on(Finished(0, 8, "x"))
    for trace in (1, 2, 3):
        policy.on(Grew(trace, PREFIX))
    for _ in range(visits):
        assert isinstance(policy.on(Judged({(1, 0): 1.0}))[0], Judge)
    assert policy.on(Judged({}, failure="too slow")) == []
    assert policy.on(Grew(1, 2 * PREFIX)) == []
    assert policy.on(Finished(1, 40, "y")) == []
    assert policy.on(Finished(2, 50, "y")) == []
    (decision,) = policy.on(Finished(3, 60, "x"))
    assert isinstance(decision, Decide)
    assert decision.votes == {"x": 2, "y": 2}
    assert decision.reason == "the vote is decided after 4 traces; without its judge (too slow)"


def test_without_its_judge_the_vote_may_be_decided_at_once():
    policy = begun(options(4))
    for trace in range(3):
        policy.on(Finished(trace, 8, "x"))
    policy.on(Grew(3, PREFIX))
    (decision,) = policy.on(Judged({}, failure="too slow"))
    assert (decision.answer, decision.votes) == ("x", {"x": 3})


def test_a_trace_that_fails_during_the_visits_is_not_chosen():
    policy = begun(options(3, finish=1, vote="largest"))
    for trace in range(3):
        actions = policy.on(Grew(trace, PREFIX))
    assert actions == [Judge(((1, 0),))]
    assert policy.on(Failed(0, 12)) == []
    (judge,) = policy.on(Judged({(1, 0): 1.0}))
    assert set(judge.pairs) == {(2, 0), (2, 1)}
    (prune,) = policy.on(Judged({(2, 0): 1.0, (2, 1): 1.0}))
    assert isinstance(prune, Prune)
    assert prune.trace in (1, 2)
    assert policy._running == {1, 2} - {prune.trace}


def test_where_the_whole_largest_cluster_fails_the_others_that_ended_vote(play):
    short = [RecordedTrace(4, "y"), RecordedTrace(5, "y")]
    settings = options(5, vote="largest", finish=2)
    played = play(settings, [*short, *traces("xxx")], judge=Groups("bbaaa"), failing={2, 3, 4})
    assert played.answer == "y"
    assert "none of those that were to vote gave an answer" in played.outcome.decision.reason


def test_a_cluster_is_as_large_as_its_sound_traces():
    policy = begun(options(5, finish=1, vote="largest"))
    for trace in range(5):
        policy.on(Grew(trace, PREFIX))
    policy.on(Judged({(1, 0): 1.0}))
    for trace in (0, 1):
        policy.on(Failed(trace, 12))
    policy.on(Judged({(2, 0): 0.0, (2, 1): 0.0}))
    policy.on(Judged({(3, 0): 0.0, (3, 1): 0.0, (3, 2): 1.0}))
    policy.on(Judged({(4, 0): 1.0, (4, 1): 1.0, (4, 2): 0.0, (4, 3): 0.0}))
    assert policy._running <= {2, 3}
    assert len(policy._running) == 1
