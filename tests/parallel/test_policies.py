"""What holds of every policy, whatever the traces do."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.accounting import Account
from reasonprune.engine.pool import RecordedTrace
from reasonprune.parallel.policies import POLICIES, build
from reasonprune.parallel.protocol import Evaluated, Failed, Finished, Judged, Spawn
from reasonprune.policy_options import (
    POLICY_OPTIONS,
    AdaptiveConsistencyOptions,
    BestOfNOptions,
    ConsensusOptions,
    DeepConfOptions,
    DeepPruneOptions,
    EscOptions,
    ParallelProbeOptions,
    PolicyOptions,
    SelfConsistencyOptions,
)
from reasonprune.selfeval import SelfScore

MOST = 8
EVERY = 16
answers = st.sampled_from([None, "1", "1", "2", "3"])
sizes = st.integers(1, MOST)
shares = st.floats(0.51, 0.99)
some_sizes = st.none() | sizes
thresholds = st.floats(0, 0.99)
shorts = st.sampled_from([0, 50, 1024])
judged_options = st.builds(
    DeepPruneOptions,
    n=sizes,
    start=some_sizes,
    threshold=thresholds,
    comparisons=st.integers(1, 3),
    every=st.integers(5, 60),
    confidence=shares,
    divided=st.integers(2, 4),
    quorum=st.floats(0.1, 1),
    patience=st.floats(1, 4),
    short=shorts,
) | st.builds(
    DeepPruneOptions,
    when=st.just("prefix"),
    n=sizes,
    start=some_sizes,
    threshold=thresholds,
    comparisons=st.integers(1, 3),
    prefix=st.integers(1, 60),
    clusters=st.integers(1, 4),
    finish=sizes,
    fallback=sizes,
    vote=st.sampled_from(["weighted", "largest"]),
)
options_of_any_policy = st.one_of(
    st.builds(SelfConsistencyOptions, n=sizes),
    st.builds(AdaptiveConsistencyOptions, n=sizes, threshold=shares),
    st.builds(EscOptions, n=sizes, window=st.integers(2, 4)),
    st.builds(
        DeepConfOptions,
        n=sizes,
        mode=st.sampled_from(["low", "high"]),
        warmup=st.integers(1, MOST),
        window=st.integers(1, 64),
        threshold=shares,
    ),
    st.builds(
        ParallelProbeOptions,
        n=sizes,
        every=st.just(EVERY),
        stable=st.integers(1, 4),
        patience=st.integers(1, 3),
        warmup=st.integers(0, 3),
    ),
    st.builds(
        ConsensusOptions,
        n=sizes,
        start=some_sizes,
        threshold=shares,
        quorum=st.floats(0.1, 1),
        short=shorts,
    ),
    judged_options,
    st.builds(
        BestOfNOptions,
        n=sizes,
        threshold=st.floats(0.05, 1),
        waves=st.sampled_from(["doubling", "single", "all"]),
        prune_at=st.lists(st.integers(1, 60), min_size=1, max_size=3),
        keep=st.floats(0.1, 1),
        select=st.sampled_from(["score", "majority", "weighted"]),
    ),
)


@st.composite
def recorded_traces(draw: st.DrawFn) -> RecordedTrace:
    tokens = draw(st.integers(0, 100))
    levels = draw(st.lists(st.floats(0.5, 20), min_size=1, max_size=4))
    return RecordedTrace(
        tokens,
        draw(answers),
        {at: draw(answers) for at in range(EVERY, tokens, EVERY)},
        tuple(levels[i * len(levels) // tokens] for i in range(tokens)),
        scores={at: SelfScore(draw(st.floats(0, 1))) for at in range(0, tokens + 1, EVERY)},
    )


pools = st.lists(recorded_traces(), min_size=MOST + 1, max_size=MOST + 1)
failures = st.frozensets(st.integers(0, MOST), max_size=MOST)


def test_every_option_class_has_a_policy():
    assert POLICIES.keys() == POLICY_OPTIONS.keys()


@given(options=options_of_any_policy, pool=pools, failing=st.just(frozenset()) | failures, cost=st.integers(0, 40))
def test_every_race_is_sound(play, options: PolicyOptions, pool, failing, cost):
    played = play(options, pool, probe_cost=cost, failing=failing)
    outcome, race = played.outcome, played.race

    assert outcome.failure is None
    assert set(outcome.decision.ranking) <= set(played.started)
    # One more than n only where none of the n is left to answer: all have failed, or were stopped for one that failed.
    ended = set(played.states[: options.n])
    assert len(played.started) <= options.n or ("failed" in ended and ended <= {"failed", "pruned"})

    (kept,) = outcome.kept
    assert [i for i, trace in outcome.traces.items() if trace.state == "running"] in ([], [kept])
    assert outcome.traces[kept].state in ("running", "finished") or outcome.decision.forced

    running, stopped = set(), set()
    for kind, what in race.notes:
        if kind == "start":
            running.add(what)
            assert len(running) <= options.most_at_once
        elif kind == "stop":
            running.remove(what)
            stopped.add(what)
        elif kind == "event" and not isinstance(what, (Judged, Evaluated)):
            assert what.trace not in stopped
            if isinstance(what, (Finished, Failed)):
                running.remove(what.trace)


@given(options=judged_options, pool=pools, failing=st.just(frozenset()) | failures, cost=st.integers(0, 40))
def test_every_judgement_is_sound(play, options: DeepPruneOptions, pool, failing, cost):
    played = play(options, pool, probe_cost=cost, failing=failing)
    assert played.outcome.failure is None
    awaited, running, answers = None, set(), {}
    for kind, what in played.race.notes:
        if kind == "start":
            running.add(what)
        elif kind == "stop":
            running.remove(what)
        elif kind == "judge":
            assert awaited is None, "one judgement at a time"
            awaited = what
            assert len(set(what)) == len(what) > 0
            if options.when == "finish":
                assert {asked for asked, _ in what} == running
                compared = Counter(answers[finished] for finished in {finished for _, finished in what})
                assert None not in compared
                assert max(compared.values()) <= options.comparisons
            else:
                assert {trace for pair in what for trace in pair} <= set(played.started)
                assert len({visited for visited, _ in what}) == 1
                assert len(what) <= options.comparisons * options.clusters
        elif isinstance(what, Judged):
            assert what.similarities.keys() == set(awaited)
            awaited = None
        elif isinstance(what, (Finished, Failed)):
            running.remove(what.trace)
            if isinstance(what, Finished):
                answers[what.trace] = what.answer


@given(options=options_of_any_policy, pool=pools, cost=st.integers(0, 40))
def test_tokens_add_up(play, options: PolicyOptions, pool, cost):
    outcome, race = (played := play(options, pool, probe_cost=cost)).outcome, played.race
    tokens = {i: race.tokens(i) for i in outcome.traces}
    for i, trace in outcome.traces.items():
        assert tokens[i] <= pool[i].tokens
        assert trace.state != "finished" or tokens[i] == pool[i].tokens
        assert trace.state != "finished" or trace.answer == pool[i].answer
    assert race.probe_tokens == (outcome.probes + played.forced) * cost

    account = Account()
    account.record_parallel(options.policy, options.n, outcome, tokens, race.probe_tokens)
    assert account.generated == sum(tokens.values()) + race.probe_tokens
    assert account.parallel["started"] == len(played.started)


@given(options=options_of_any_policy, pool=pools, failing=failures, cost=st.sampled_from([0, 7]))
def test_the_same_traces_give_the_same_race(play, options: PolicyOptions, pool, failing, cost):
    first, second = (play(options, pool, failing=failing, probe_cost=cost) for _ in range(2))
    assert first.outcome == second.outcome
    assert first.race.notes == second.race.notes


@given(options=options_of_any_policy, pool=pools)
def test_the_trace_returned_gives_the_answer_decided(play, options: PolicyOptions, pool):
    played = play(options, pool)
    (kept,) = played.outcome.kept
    if played.outcome.decision.forced or played.answer is None:
        return
    assert pool[kept].answer == played.answer


@given(options=options_of_any_policy, pool=pools, answer=st.sampled_from(["1", "2"]))
def test_unanimous_traces_give_their_answer(play, options: PolicyOptions, pool, answer):
    alike = [replace(trace, answer=answer, probes=dict.fromkeys(trace.probes, answer)) for trace in pool]
    assert play(options, alike).answer == answer


@given(options=options_of_any_policy, pool=pools, choices=st.integers(1, MOST))
def test_n_choices_are_returned(play, options: PolicyOptions, pool, choices):
    kept = play(options, [*pool, *pool], choices=choices).outcome.kept
    assert len(set(kept)) == choices


@given(n=sizes, pool=pools)
def test_self_consistency_is_the_majority_of_finished_answers(play, n, pool):
    played = play(SelfConsistencyOptions(n=n), pool)
    counts = Counter(trace.answer for trace in pool[:n] if trace.answer is not None)
    assert played.outcome.decision.votes == counts
    assert counts[played.answer] == max(counts.values(), default=0)
    assert set(played.states) == {"finished"}


each_policy = pytest.mark.parametrize(
    ("policy", "settings"),
    [
        *((policy, {}) for policy in sorted(POLICY_OPTIONS)),
        ("deepprune", {"when": "prefix"}),
        ("deepprune", {"when": "prefix", "prefix": 20, "vote": "largest"}),
    ],
)


@each_policy
def test_where_nobody_answers_the_reason_says_so(play, policy, settings):
    pool = [RecordedTrace(tokens, None, {}, (1.0,) * tokens) for tokens in (40, 30, 50, 60)]
    outcome = play(POLICY_OPTIONS[policy](n=3, **settings), pool).outcome
    assert outcome.decision.answer is None
    assert outcome.decision.votes == {}
    assert "no trace gave an answer that could be found, so the first to finish is returned" in outcome.decision.reason
    assert outcome.kept == ((0,) if policy in ("adaptive_consistency", "best_of_n") else (1,))


@each_policy
def test_where_all_fail_a_new_trace_answers(play, policy, settings):
    pool = [RecordedTrace(10, "1", {}, (1.0,) * 10)] * 4
    outcome = play(POLICY_OPTIONS[policy](n=3, **settings), pool, failing={0, 1, 2}).outcome
    assert outcome.kept == (3,)
    assert outcome.traces[3].state == "running"
    assert "no trace finished" in outcome.decision.reason


@each_policy
def test_a_single_trace_is_enough(play, policy, settings):
    played = play(POLICY_OPTIONS[policy](n=1, **settings), [RecordedTrace(10, "1", {}, (1.0,) * 10)])
    assert (played.answer, played.states) == ("1", ["finished"])


def test_policies_are_fresh_for_each_question():
    options = ConsensusOptions(n=3)
    assert build(options) is not build(options)
    assert [build(options).begin() for _ in range(2)] == [[Spawn()] * 3] * 2
