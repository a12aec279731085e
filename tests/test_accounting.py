import pytest

from reasonprune.accounting import Account
from reasonprune.depth import LayerProgram
from reasonprune.judges.books import JudgeBooks
from reasonprune.parallel.driver import Outcome, Trace
from reasonprune.parallel.protocol import Decide
from reasonprune.selfeval.score import SelfEvalBooks, SelfScore


def outcome(*states: str, kept: tuple[int, ...] = (0,), failure: str | None = None) -> Outcome:
    traces = {i: Trace(i, 0.0, None, state, ended_at=1.26) for i, state in enumerate(states)}
    return Outcome(Decide(kept, "enough", "4", {"4": 1.0}), kept, traces, 12.34, failure)


def test_tokens_of_all_traces_and_probes_are_counted():
    account = Account()
    account.record_parallel("consensus", 4, outcome("finished", "pruned", "failed"), {0: 10, 1: 5, 2: 3}, 7)
    made = account.as_json()
    assert made["tokens"] == {"generated": 25, "returned": 10, "probes": 7}
    assert made["applied"] == ["parallel"]
    parallel = made["parallel"]
    assert [parallel[key] for key in ("n", "started", "finished", "pruned", "failed")] == [4, 3, 1, 1, 1]
    assert (parallel["answer"], parallel["votes"], parallel["chosen"]) == ("4", {"4": 1.0}, [0])
    assert (parallel["lossless"], parallel["reason"], parallel["policy_failure"]) == (False, "enough", None)
    assert parallel["decided_after_ms"] == 12.3


@pytest.mark.parametrize(
    ("states", "tokens", "n", "avoided"),
    [
        (("finished",), [10], 1, 0),
        (("finished",), [10], 4, 30),  # three never started
        (("finished", "pruned"), [10, 4], 2, 6),
        (("finished", "finished", "pruned"), [10, 20, 5], 4, 10 + 15),
        (("finished", "pruned"), [10, 40], 2, 0),  # longer than the mean already
        (("finished", "failed"), [10, 4], 2, 0),
        (("pruned",), [4], 2, None),  # nothing to estimate from
    ],
)
def test_avoided_tokens_are_estimated_from_finished_traces(states, tokens, n, avoided):
    account = Account()
    account.record_parallel("consensus", n, outcome(*states), dict(enumerate(tokens)), 0)
    estimate = account.parallel.get("avoided_estimate")
    assert estimate is None if avoided is None else estimate["tokens"] == avoided
    assert estimate is None or "mean length" in estimate["method"]


def test_each_trace_is_listed():
    made = outcome("finished", "pruned")
    made.traces[0].answer = "4"
    made.traces[1].temperature, made.traces[1].reason, made.traces[1].ended_at = 0.5, "enough", None
    account = Account()
    account.record_parallel("consensus", 2, made, {0: 10, 1: 5}, 0)
    assert account.parallel["traces"] == [
        {"trace": 0, "state": "finished", "tokens": 10, "answer": "4", "ended_after_ms": 1.3},
        {
            "trace": 1,
            "state": "pruned",
            "tokens": 5,
            "answer": None,
            "temperature": 0.5,
            "reason": "enough",
            "ended_after_ms": None,
        },
    ]


def test_several_choices_are_returned():
    account = Account()
    account.record_parallel("consensus", 2, outcome("finished", "finished", kept=(1, 0)), {0: 10, 1: 5}, 0)
    assert account.returned == 15
    assert account.parallel["chosen"] == [1, 0]


def test_what_was_not_applied_is_listed_with_the_reason():
    account = Account()
    account.skip("parallel", "one prompt only")
    account.notes["seed"] = "dropped"
    made = account.as_json()
    assert made["applied"] == []
    assert made["not_applied"] == [{"technique": "parallel", "reason": "one prompt only"}]
    assert made["notes"] == {"seed": "dropped"}
    assert "parallel" not in made


def test_a_failed_policy_is_named():
    account = Account()
    account.record_parallel("consensus", 1, outcome("finished", failure="ValueError: no"), {0: 1}, 0)
    assert account.parallel["policy_failure"] == "ValueError: no"


def test_overhead_is_summed_even_when_something_fails():
    account = Account()
    with pytest.raises(ValueError), account.overhead():
        raise ValueError
    first = account.overhead_ms
    with account.overhead():
        pass
    made = account.as_json()["ms"]
    assert 0 < first < account.overhead_ms
    assert made["overhead"] <= made["total"] + 0.1


def test_what_judging_cost_is_listed_with_the_race():
    account = Account()
    account.record_parallel("deepprune", 2, outcome("finished", "pruned"), {0: 10, 1: 5}, 7)
    account.record_judge("probe", JudgeBooks(rounds=2, pairs=9, generated=7, prompted=120, ms=12.34))
    made = account.as_json()
    assert made["parallel"]["judge"] == {
        "name": "probe",
        "rounds": 2,
        "pairs": 9,
        "generated_tokens": 7,
        "prompt_tokens": 120,
        "ms": 12.3,
    }
    assert made["tokens"] == {"generated": 22, "returned": 10, "probes": 7}
    assert (made["applied"], made["not_applied"]) == (["parallel"], [])


def test_a_judge_that_was_never_asked_cost_nothing():
    account = Account()
    account.record_parallel("deepprune", 1, outcome("finished"), {0: 10}, 0)
    account.record_judge("llm", JudgeBooks())
    costs = account.parallel["judge"]
    assert costs.pop("name") == "llm"
    assert set(costs.values()) == {0}
    assert account.not_applied == []


def test_a_failed_judge_was_not_applied_but_the_policy_was():
    account = Account()
    account.record_parallel("deepprune", 1, outcome("finished"), {0: 10}, 3)
    account.record_judge("encoder", JudgeBooks(rounds=1, pairs=4, failure="the judge failed: OSError: no file"))
    reason = "the judge failed: OSError: no file; the policy went on by finished traces alone"
    assert account.not_applied == [{"technique": "parallel.judge", "reason": reason}]
    assert account.applied == ["parallel"]
    assert account.parallel["judge"]["pairs"] == 4


def test_layers_that_were_run_are_told():
    account = Account()
    account.record_depth([LayerProgram.parse("0-3,5"), LayerProgram.full(6)], 6, "right with probability 0.9")
    made = account.as_json()
    assert made["applied"] == ["depth"]
    assert made["depth"] == {
        "lossless": False,
        "model_layers": 6,
        "programs": [{"program": "0-3,5", "layers": 5}, {"program": "0-5", "layers": 6}],
        "reason": "right with probability 0.9",
    }


def test_self_evaluation_gives_the_chosen_answer_its_score():
    account = Account()
    account.record_parallel("best_of_n", 2, outcome("finished", "finished"), {0: 5, 1: 6}, 2)
    books = SelfEvalBooks(rounds=2, checks=2, generated=2, prompted=90, ms=3.21, last={0: SelfScore(0.71, 0.9, 12.0)})
    account.record_self_eval("head", books)
    parallel = account.as_json()["parallel"]
    assert parallel["score"] == 0.71
    assert parallel["traces"][0] | {"score": 0.71, "unbeaten": 0.9, "remaining": 12.0} == parallel["traces"][0]
    costs = {"rounds": 2, "checks": 2, "generated_tokens": 2, "prompt_tokens": 90, "ms": 3.2}
    assert parallel["self_eval"] == {"kind": "head", **costs}
    assert account.not_applied == []


@pytest.mark.parametrize(
    ("books", "reason"),
    [
        (SelfEvalBooks(failure="no probabilities"), "no probabilities; all traces voted with equal weight"),
        (SelfEvalBooks(checks=4, unsound=1), "1 of 4 scores were not numbers from 0 to 1"),
    ],
)
def test_a_self_evaluation_that_failed_is_named(books, reason):
    account = Account()
    account.record_parallel("best_of_n", 1, outcome("finished"), {0: 5}, 0)
    account.record_self_eval("verbal", books)
    assert account.not_applied == [{"technique": "parallel.self_eval", "reason": reason}]
    assert account.applied == ["parallel"]
    assert account.parallel["score"] is None
