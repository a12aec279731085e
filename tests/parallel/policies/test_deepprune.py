from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from reasonprune.engine.pool import RecordedTrace
from reasonprune.judges.judge import Judgement, Pair
from reasonprune.parallel.policies.deepprune import DeepPrune
from reasonprune.parallel.protocol import Action, Decide, Failed, Finished, Grew, Judge, Judged, Spawn
from reasonprune.parallel.votes import beats_runner_up
from reasonprune.policy_options import DeepPruneOptions

RUNNING = 1000  # tokens of a trace that is to be seen running only


def pool(answers: str) -> list[RecordedTrace]:
    """Traces that finish one after the other and have no answer to give before; `-` gives none at the end either."""
    return [RecordedTrace(10 * (i + 1), None if a == "-" else a) for i, a in enumerate(answers)]


def running(*probes: str, every: int = 10) -> list[RecordedTrace]:
    """One running trace for each string, whose letters are the answers forced from it at every `every` tokens."""
    return [
        RecordedTrace(RUNNING, "z", {every * (i + 1): None if a == "-" else a for i, a in enumerate(answers)})
        for answers in probes
    ]


def options(**settings) -> DeepPruneOptions:
    """Six traces and no more, judged at every ending and never in between; the vote alone decides."""
    return DeepPruneOptions(**{"n": 6, "every": RUNNING, "patience": 1000.0, "short": 0} | settings)


@dataclass
class Sure:
    """A judge that finds all traces alike, or none; what it says is not counted as generated."""

    alike: bool

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        return Judgement([float(self.alike)] * len(pairs))


@pytest.mark.parametrize(("n", "start", "wave"), [(16, None, 6), (3, None, 3), (16, 12, 12), (4, 12, 4)])
def test_the_first_wave(play, n, start, wave):
    assert len(play(options(n=n, start=start), pool("a" * 16)).started) == wave


@pytest.mark.parametrize(("agreeing", "ended"), [(5, 1), (3, 1), (2, 2), (1, 3), (0, 4)])
def test_running_traces_that_answer_as_a_finished_one_vote_with_it(play, agreeing, ended):
    finishing = [RecordedTrace(10 * (i + 1), "a", {10: None, 20: None, 30: None}) for i in range(6 - agreeing)]
    played = play(options(), [*finishing, *running(*["aaaaa"] * agreeing)])
    # Four of six are more than half.
    assert played.outcome.decided_at == 10 * ended
    assert played.outcome.decision.votes == {"a": ended + agreeing}
    assert played.states == ["finished"] * ended + ["pruned"] * (6 - ended)
    alike = f", {agreeing} running ones judged to end as they did" if agreeing else ""
    assert played.outcome.decision.reason == f"the leader is safe: {ended} traces have ended{alike}"


@pytest.mark.parametrize(("confidence", "ended"), [(0.8, 3), (0.77, 2)])
def test_the_leader_must_be_ahead_by_the_posterior(play, confidence, ended):
    assert 0.8 > beats_runner_up(4, 2) > 0.77
    traces = [*pool("ab"), RecordedTrace(30, "a", {10: None, 20: "a"}), *running("-aa", "-aa", "-ba")]
    played = play(options(confidence=confidence), traces)
    assert played.states.count("finished") == ended
    assert played.outcome.decision.votes == ({"a": 4, "b": 2} if ended == 2 else {"a": 5, "b": 1})


def test_running_traces_that_agree_with_each_other_alone_do_not_vote(play):
    played = play(options(quorum=0.1), [*pool("a"), *running(*["b"] * 5)])
    assert played.outcome.decision.votes == {"a": 1}


def test_running_traces_are_judged_against_finished_ones_with_an_answer(play):
    played = play(options(n=5, quorum=0.75), [*pool("a-bc"), *running("-" * 9)])
    first, second, third = (set(pairs) for pairs in played.judged)
    assert first == {(1, 0), (2, 0), (3, 0), (4, 0)}
    # An ending without an answer is a change as well, but nothing to be like.
    assert second == {(2, 0), (3, 0), (4, 0)}
    assert third == {(3, 0), (3, 2), (4, 0), (4, 2)}


def test_nothing_is_asked_that_could_not_decide(play):
    # One running trace beside three different answers would make two of six.
    played = play(options(divided=6, quorum=1.0), [*pool("abcde"), *running("-" * 9)])
    assert [len(set(dict(pairs))) for pairs in played.judged] == [5, 4, 3]


def test_nothing_is_judged_before_there_is_an_answer(play):
    played = play(options(every=5), [*pool("--a"), *running(*["------"] * 3)])
    asked = played.race.notes.index(("judge", played.judged[0]))
    assert played.race.notes[asked - 1] == ("event", Finished(2, 30, "a"))


@pytest.mark.parametrize(("comparisons", "drawn"), [(1, [1, 1, 2, 2]), (2, [1, 2, 3, 4]), (10, [1, 2, 3, 4])])
def test_each_answer_is_compared_with_few_of_those_who_gave_it(play, comparisons, drawn):
    settings = options(n=9, start=9, comparisons=comparisons, quorum=0.5, divided=9)
    played = play(settings, [*pool("aabbc"), *running(*["-" * 10] * 4)])
    assert [len({finished for _, finished in pairs}) for pairs in played.judged[:4]] == drawn
    for ended, pairs in enumerate(played.judged[:4], 1):
        assert len(set(pairs)) == len(pairs) == (9 - ended) * drawn[ended - 1]
        assert all(asked >= ended > finished for asked, finished in pairs)


@pytest.mark.parametrize(("divided", "ended"), [(2, 2), (3, 3), (4, 4)])
def test_the_first_of_several_different_answers_wins(play, divided, ended):
    played = play(options(divided=divided), [*pool("abcd"), *running("-----", "-----")])
    assert (played.answer, played.states.count("finished")) == ("a", ended)
    assert played.outcome.decision.reason == f"the first answers are all different: {ended} traces have ended"


@pytest.mark.parametrize(
    ("answers", "probes", "ended"),
    [
        ("a-bcd", "-----", 4),  # no answer is no different answer
        ("abac", "-----", 5),  # two are alike
        ("abcd", "--b--", 5),  # what runs was like one of three, and is not judged against four
    ],
)
def test_answers_are_not_scattered_while_two_are_alike(play, answers, probes, ended):
    played = play(options(), [*pool(f"{answers}ef"[:5]), *running(probes)])
    assert played.states.count("finished") == ended


@pytest.mark.parametrize(("quorum", "ended"), [(0.1, 1), (0.5, 3), (0.7, 5), (1.0, 6)])
def test_the_quorum_decides_however_close(play, quorum, ended):
    played = play(options(quorum=quorum), pool("ababcc"))
    assert (played.answer, played.states.count("finished")) == ("a", ended)
    assert played.outcome.decision.reason == f"a quorum has ended: {ended} traces have ended"


@pytest.mark.parametrize(
    ("answers", "patience", "decided_at"),
    [("a", 2.0, 25), ("a", 3.0, 35), ("a", 2.5, 30), ("-a", 2.0, 45), ("aa", 2.0, 25)],
)
def test_the_rest_is_not_waited_for_much_longer_than_the_first_answer(play, answers, patience, decided_at):
    traces = [*pool(answers), *running(*["-" * 90] * (6 - len(answers)))]
    outcome = play(options(every=5, patience=patience), traces).outcome
    assert (outcome.decision.answer, outcome.decided_at) == ("a", decided_at)
    assert outcome.decision.reason == f"the rest is late: {len(answers)} traces have ended"


def test_nobody_is_late_before_the_first_answer(play):
    played = play(options(every=5, patience=1.0, quorum=0.5), [*pool("---"), *running("-", "-", "-")])
    assert played.outcome.decision.reason.startswith("a quorum has ended")


@pytest.mark.parametrize(("every", "decided_at"), [(10, 30), (15, 30), (20, 40), (300, 300)])
def test_after_the_first_answer_the_rest_is_judged_again_at_every_so_many_tokens(play, every, decided_at):
    played = play(options(every=every), [*pool("a"), *running(*["--" + "a" * 90] * 5)])
    assert played.outcome.decided_at == decided_at
    assert len(played.judged) == 1 + decided_at // every - (every == 10)  # at 10 tokens it is asked once


def test_a_trace_may_change_its_mind(play):
    traces = [*pool("ab"), RecordedTrace(40, "b", {10: "a", 20: "b", 30: "b"}), *running("abbb", "-bbb", "---a")]
    played = play(options(), traces)
    assert played.outcome.decided_at == 20
    assert played.outcome.decision.votes == {"b": 4, "a": 1}


def test_what_was_alike_may_be_so_no_more():
    policy = begun(n=4, every=20, patience=3.0)
    policy.on(Finished(0, 10, "a"))
    assert policy.on(judged(_1_0=1, _2_0=0, _3_0=0)) == []
    assert asked(policy.on(Grew(1, 20))) == {(1, 0), (2, 0), (3, 0)}
    assert policy.on(judged(_1_0=0, _2_0=0, _3_0=0)) == []
    assert decision(policy.on(Grew(1, 31))).votes == {"a": 1}


def test_forced_answers_are_paid_for_and_come_later(play):
    played = play(options(), [*pool("a"), *running(*["a"] * 5)], probe_cost=7)
    assert (played.outcome.decided_at, played.forced, played.race.probe_tokens) == (17, 5, 35)


def test_a_finished_trace_is_returned_though_others_vote(play):
    played = play(options(n=4), [*running("a"), *pool("a"), *running("a", "a")], choices=2)
    assert played.outcome.decision.ranking == (1, 0, 2, 3)
    assert played.outcome.kept == (1, 0)


def test_two_are_most_of_a_first_wave_of_three(play):
    played = play(options(n=3, start=3), [*pool("a"), *running("a", "-")])
    assert (played.answer, played.outcome.decided_at) == ("a", 10)


@pytest.mark.parametrize(
    ("short", "started", "reason"),
    [(29, 4, "the first answers are all different: 3 traces"), (30, 6, "the leader is safe: 5 traces")],
)
def test_where_traces_are_short_more_come_in_instead_of_a_divided_vote(play, short, started, reason):
    traces = [*pool("abc"), *running("-" * 90), *[RecordedTrace(20, "a")] * 12]
    played = play(options(n=16, start=4, short=short), traces)
    assert len(played.started) == started
    assert played.outcome.decision.reason.startswith(reason)


def test_half_as_many_as_were_started_are_kept_running(play):
    played = play(options(n=16, short=RUNNING), pool("abcdefghijklmnop"))
    started_at = [trace.started_at for trace in played.outcome.traces.values()]
    # At 30 tokens the answers are scattered, but three of six still run; then the more come, the more have come.
    assert started_at[:10] == [0, 0, 0, 0, 0, 0, 40, 50, 60, 60]


@pytest.mark.parametrize("n", [6, 7, 11])
def test_never_more_than_n_come_in(play, n):
    played = play(options(n=n, short=RUNNING), pool("abcdefghijklmnop"))
    assert len(played.started) == n
    assert played.outcome.decision.reason.startswith("the first answers are all different")


def test_half_of_the_first_wave_may_be_more_than_n_allows(play):
    played = play(options(n=5, start=4, quorum=1.0, divided=9, short=RUNNING), pool("abcde"))
    assert played.states == ["finished"] * 5


def test_the_quorum_is_one_of_all_that_were_started(play):
    traces = [*pool("abab"), RecordedTrace(200, "c"), RecordedTrace(300, "b")]
    played = play(options(n=6, start=4, quorum=1.0, short=100), traces)
    assert played.states == ["finished"] * 6
    assert played.outcome.decision.votes == {"b": 3, "a": 2, "c": 1}


def test_what_comes_in_late_votes_too(play):
    played = play(options(n=16, short=RUNNING), [*pool("abcdef"), *[RecordedTrace(20, "d")] * 10])
    assert played.answer == "d"
    assert played.outcome.decision.reason.startswith("the leader is safe")


def test_a_long_trace_ends_the_refilling(play):
    traces = [
        *pool("abcd"),
        RecordedTrace(200, "e"),
        *running("-" * 99),
        *[RecordedTrace(30, a) for a in "fghijklmnopqrstuvwxy"],
    ]
    played = play(options(n=32, short=100), traces)
    assert len(played.started) > 6
    assert played.outcome.decision.reason.startswith("the first answers are all different")
    assert played.outcome.decided_at == 200


def test_a_race_with_a_long_running_trace_is_not_short():
    policy = begun(n=16, every=20, patience=3.0, short=25)
    policy.on(Finished(0, 10, "a"))
    policy.on(judged(_1_0=0, _2_0=0, _3_0=0, _4_0=0, _5_0=0))
    for trace in (2, 3, 4, 5):
        policy.on(Grew(trace, 20))
    assert policy.on(Grew(1, 20))  # judged again
    policy.on(judged(_1_0=0, _2_0=0, _3_0=0, _4_0=0, _5_0=0))
    # Late, and 40 tokens are more than short: nothing more comes in.
    assert decision(policy.on(Grew(1, 40))).reason.startswith("the rest is late")


def test_where_lateness_decides_nothing_the_judge_is_asked_again():
    policy = begun(n=16, every=20, patience=1.0, short=RUNNING)
    policy.on(Finished(0, 10, "a"))
    policy.on(judged(_1_0=0, _2_0=0, _3_0=0, _4_0=0, _5_0=0))
    assert asked(policy.on(Grew(1, 20))) == {(trace, 0) for trace in range(1, 6)}


def test_a_first_wave_of_one_is_followed_by_one_at_a_time(play):
    played = play(options(n=3, start=1, short=RUNNING), pool("aaa"))
    assert [trace.started_at for trace in played.outcome.traces.values()] == [0, 10]


def test_what_is_safe_by_the_judge_is_not_judged_again():
    policy = begun()
    policy.on(Finished(0, 10, "a"))
    policy.on(Finished(1, 12, "b"))  # while the judge is busy
    assert decision(policy.on(judged(_1_0=0, _2_0=1, _3_0=1, _4_0=1, _5_0=1))).votes == {"a": 5, "b": 1}


def test_failed_traces_have_ended_but_do_not_vote(play):
    played = play(options(n=5, quorum=0.6), [*pool("aab"), *running("-----", "-----")], failing={0, 1})
    assert played.outcome.decision.votes == {"b": 1}
    assert played.outcome.decision.reason == "a quorum has ended: 3 traces have ended"


def test_a_quorum_of_failures_decides_nothing(play):
    played = play(options(n=4, quorum=0.5), pool("aaab"), failing={0, 1, 2})
    assert played.outcome.decision.votes == {"b": 1}


def test_a_trace_that_fails_after_it_was_judged_does_not_vote(play):
    traces = [*pool("a"), RecordedTrace(15, "a", {10: "a"}), RecordedTrace(16, "a", {10: "a"}), *running("--")]
    played = play(options(n=4, start=4, confidence=0.95), traces, failing={1, 2})
    assert played.outcome.decision.votes == {"a": 1}


def test_without_any_answer_nothing_is_judged(play):
    played = play(options(every=5), pool("------"))
    assert (played.judged, played.answer, played.outcome.kept) == ([], None, (0,))
    assert played.outcome.decision.reason.endswith("so the first to finish is returned")


def test_a_single_trace_needs_no_judge(play):
    played = play(options(n=1, every=5), pool("a"))
    assert (played.judged, played.answer, played.states) == ([], "a", ["finished"])


@pytest.mark.parametrize(("alike", "ended"), [(True, 1), (False, 4)])
def test_any_judge_will_do(play, alike, ended):
    played = play(options(), pool("aaaaaa"), judge=Sure(alike))
    assert (played.answer, played.states.count("finished")) == ("a", ended)


# What follows are sequences of events, since a replay's judge neither fails nor dawdles.


def begun(**settings) -> DeepPrune:
    policy = DeepPrune(options(**settings))
    assert policy.begin() == [Spawn()] * policy._options.first_wave
    return policy


def asked(actions: list[Action]) -> set[tuple[int, int]]:
    (action,) = actions
    assert isinstance(action, Judge)
    assert len(set(action.pairs)) == len(action.pairs)
    return set(action.pairs)


def decision(actions: list[Action]) -> Decide:
    (action,) = actions
    assert isinstance(action, Decide)
    return action


def judged(**alike: float) -> Judged:
    """`_2_0=1.0`: how alike traces 2 and 0 are."""
    return Judged({tuple(map(int, pair.strip("_").split("_"))): value for pair, value in alike.items()})


def test_the_signals_ask_for_growth_and_a_judge():
    signals = begun(every=30).signals
    assert (signals.every, signals.judges, signals.probes, signals.confidences) == (30, True, False, False)


def test_nothing_is_asked_while_a_judgement_is_under_way_and_afterwards_what_ended_meanwhile():
    policy = begun(n=5)
    assert asked(policy.on(Finished(0, 10, "a"))) == {(1, 0), (2, 0), (3, 0), (4, 0)}
    assert policy.on(Finished(1, 20, "b")) == []
    assert policy.on(Grew(2, RUNNING)) == []
    assert policy.on(Failed(4, RUNNING)) == []
    assert asked(policy.on(judged(_1_0=0, _2_0=0, _3_0=0, _4_0=0))) == {(2, 0), (2, 1), (3, 0), (3, 1)}
    # Nothing has ended since.
    assert policy.on(judged(_2_0=0, _2_1=0, _3_0=0, _3_1=0)) == []
    assert asked(policy.on(Grew(2, 2 * RUNNING))) == {(2, 0), (2, 1), (3, 0), (3, 1)}


def test_growth_is_the_clock_of_the_first_that_runs_only():
    policy = begun(n=5)
    policy.on(Finished(0, 10, "a"))
    assert policy.on(judged(_1_0=0, _2_0=0, _3_0=0, _4_0=0)) == []
    assert policy.on(Grew(2, RUNNING)) == []
    assert asked(policy.on(Grew(1, RUNNING))) == {(1, 0), (2, 0), (3, 0), (4, 0)}


def test_finished_traces_decide_though_a_judgement_is_under_way():
    policy = begun(n=4)
    asked(policy.on(Finished(0, 10, "a")))
    assert policy.on(Finished(1, 20, "a")) == []
    assert decision(policy.on(Finished(2, 30, "a"))).reason == "the leader is safe: 3 traces have ended"


def test_where_finished_traces_decide_the_judge_is_not_asked():
    policy = begun(n=4)
    for trace in (0, 1):
        actions = policy.on(Finished(trace, 10, "a"))
        assert policy.on(Judged(dict.fromkeys(asked(actions), 0.0))) == []
    assert decision(policy.on(Finished(2, 30, "a"))).votes == {"a": 3}


@pytest.mark.parametrize("settings", [{"quorum": 0.5}, {"divided": 2}])
def test_what_is_undecided_awaits_the_judgement_that_is_under_way(settings):
    policy = begun(n=4, **settings)
    asked(policy.on(Finished(0, 10, "a")))
    assert policy.on(Finished(1, 20, "b")) == []
    assert asked(policy.on(judged(_1_0=0, _2_0=0, _3_0=0))) == {(2, 0), (2, 1), (3, 0), (3, 1)}
    made = decision(policy.on(judged(_2_0=0, _2_1=0, _3_0=0, _3_1=0)))
    assert (made.answer, made.votes) == ("a", {"a": 1, "b": 1})


def test_what_is_late_does_not():
    policy = begun(n=4, patience=2.0)
    asked(policy.on(Finished(0, 10, "a")))
    assert policy.on(Grew(1, 20)) == []
    assert decision(policy.on(Grew(1, 21))).reason == "the rest is late: 1 traces have ended"


def test_once_all_have_ended_no_judgement_is_awaited():
    policy = begun(n=2, start=2)
    asked(policy.on(Finished(0, 10, "a")))
    assert decision(policy.on(Finished(1, 20, "b"))).votes == {"a": 1, "b": 1}


def test_the_judgement_decides_when_it_comes():
    policy = begun(n=4)
    policy.on(Finished(0, 10, "a"))
    made = decision(policy.on(judged(_1_0=0.51, _2_0=0.51, _3_0=0.5)))
    assert (made.answer, made.votes, made.ranking) == ("a", {"a": 3}, (0, 1, 2))
    assert made.reason == "the leader is safe: 1 traces have ended, 2 running ones judged to end as they did"


@pytest.mark.parametrize(
    ("threshold", "alike", "votes"),
    [
        (0.5, (1.0, 0.0, 0.0), {"a": 2, "b": 1}),  # .5 on average, no more
        (0.49, (1.0, 0.0, 0.0), {"a": 3, "b": 1}),
        (0.5, (0.6, 0.6, 0.7), {"a": 2, "b": 2}),  # the likest, not the largest
        (0.5, (0.6, 0.8, 0.65), {"a": 3, "b": 1}),
    ],
)
def test_a_running_trace_joins_the_answer_it_is_likest_to_on_average(threshold, alike, votes):
    policy = begun(n=4, quorum=1.0, confidence=0.8, patience=2.0, threshold=threshold)
    for trace, answer in enumerate("aab"):
        policy.on(Finished(trace, 10, answer))
    assert asked(policy.on(judged(_1_0=0, _2_0=0, _3_0=0))) == {(3, 0), (3, 1), (3, 2)}
    actions = policy.on(Judged({(3, finished): value for finished, value in enumerate(alike)}))
    assert decision(actions or policy.on(Grew(3, 21))).votes == votes


@pytest.mark.parametrize("answers", ["aab", "aba"])
def test_a_judge_that_fails_leaves_the_finished_traces_to_decide(answers):
    policy = begun(n=4)
    asked(policy.on(Finished(0, 10, answers[0])))
    assert policy.on(Judged({}, failure="too slow")) == []
    assert policy.on(Grew(1, RUNNING)) == []
    assert policy.on(Finished(1, 20, answers[1])) == []
    made = decision(policy.on(Finished(2, 30, answers[2])))
    assert (made.answer, made.votes) == ("a", {"a": 2, "b": 1})
    assert made.reason == "a quorum has ended: 3 traces have ended; without its judge (too slow)"


def test_a_judge_that_fails_late_takes_back_what_it_said():
    policy = begun(n=4, quorum=0.5)
    policy.on(Finished(0, 10, "a"))
    assert policy.on(judged(_1_0=0, _2_0=1, _3_0=0)) == []
    assert asked(policy.on(Finished(1, 20, "b"))) == {(2, 0), (2, 1), (3, 0), (3, 1)}
    made = decision(policy.on(Judged({}, failure="gone")))
    assert (made.votes, made.ranking) == ({"a": 1, "b": 1}, (0, 1))
    assert "judged to end" not in made.reason
    assert made.reason.endswith("; without its judge (gone)")


def test_patience_and_the_end_of_all_work_without_a_judge():
    for last, reason in ((Grew(1, 100), "the rest is late"), (None, "all traces have ended")):
        policy = begun(n=4, quorum=1.0, patience=2.0)
        policy.on(Finished(0, 10, "a"))
        policy.on(Judged({}, failure="gone"))
        made = decision(policy.on(last)) if last else policy.conclude()
        assert made.reason == f"{reason}: 1 traces have ended; without its judge (gone)"


def test_a_trace_that_started_after_the_judge_was_asked_is_not_yet_judged():
    policy = begun(n=4, start=2, short=100, confidence=0.6)
    asked(policy.on(Finished(0, 10, "a")))
    # The quorum has ended while the judge is busy; half of two is to run.
    assert policy.on(Finished(1, 20, "b")) == [Spawn()]
    assert asked(policy.on(judged(_1_0=1))) == {(2, 0), (2, 1)}
    assert policy.conclude().votes == {"a": 1, "b": 1}
