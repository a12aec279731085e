import json
from pathlib import Path

import pytest

from reasonprune.engine.pool import RecordedQuestion, RecordedTrace, read_pool
from reasonprune.errors import PoolError


@pytest.fixture
def pool(tmp_path):
    def write(content) -> Path:
        path = tmp_path / "pool.jsonl"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def own(*traces: dict, **row) -> dict:
    return {"question": "?", "gold": "4", "traces": list(traces), **row}


def trace(answer: str | None = "4", tokens: int = 3, **others) -> dict:
    return {"token_ids": list(range(tokens)), "answer": answer, "finish_reason": "stop", **others}


def test_our_own_format(pool):
    lines = [
        own(trace("4.0", 3, text="4", confidences=[1.5, 2, 3], probes=[[1, "5"], [2, "4"]]), trace("x")),
        own(trace("7"), gold="8", question="!"),
    ]
    assert read_pool(pool("\n\n".join(map(json.dumps, lines)) + "\n")) == [
        RecordedQuestion(
            "?",
            "4",
            (RecordedTrace(3, "4", {1: "5", 2: "4"}, (1.5, 2, 3), "4"), RecordedTrace(3, "x")),
        ),
        RecordedQuestion("!", "8", (RecordedTrace(3, "7"),)),
    ]


def test_parallel_probes_format(pool):
    row = {
        "question": "?",
        "gold_answer": "4",
        "probe_freq": 10,
        "each_branch": [[["5", "ERR", "4", "4"], 31, "4.0"], [["9"], 10, "ERR"], [[], 5, "9"]],
    }
    assert read_pool(pool([row])) == [
        RecordedQuestion(
            "?",
            "4",
            (RecordedTrace(31, "4", {10: "5", 20: None, 30: "4"}), RecordedTrace(10, None), RecordedTrace(5, "9")),
        )
    ]


def test_a_trace_that_was_cut_off_does_not_vote(pool):
    (question,) = read_pool(pool([own(trace("4", finish_reason="length"), trace("4"))]))
    assert [t.answer for t in question.traces] == [None, "4"]


@pytest.mark.parametrize("answer", [None, "", "ERR"])
def test_no_answer(pool, answer):
    (question,) = read_pool(pool([own(trace(answer, probes=[[1, answer]]), gold=answer)]))
    assert question.traces == (RecordedTrace(3, None, {1: None}),)
    assert question.gold is None
    assert not question.correct(None)


def test_answers_are_classes_of_their_question(pool):
    pytest.importorskip("math_verify")
    late = trace(r"\frac{1}{\sqrt{3}}")
    early = trace("0", probes=[[1, r"\frac{1}{\sqrt{3}}"], [2, r"\sqrt{3}+1"]])
    (question,) = read_pool(pool([own(early, late, gold=r"\frac{\sqrt{3}}{3}")]))
    assert question.correct(question.traces[1].answer)
    # A probe belongs to the class of a final answer that is written alike, whichever trace gave it.
    assert question.traces[0].probes[1] == question.gold
    assert question.traces[0].probes[2] not in (None, question.gold)


def test_correct():
    question = RecordedQuestion("?", "4", ())
    assert question.correct("4")
    assert not question.correct("5")
    assert not question.correct(None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no questions"),
        ("[]", "holds no questions"),
        ("{", "neither a JSON list nor JSON Lines"),
        ("[1, ", "neither a JSON list nor JSON Lines"),
        (b"\xff\xfe", "cannot be read"),
        ([[]], "question 0: an object with 'traces' or 'each_branch' is expected"),
        ([own(trace()), {"gold": "4"}], "question 1: an object with"),
        ([own()], "question 0: no traces"),
        ([own(trace(), traces=None)], "question 0: malformed trace"),
        ([own(trace()), own(trace(), {"token_ids": [1]})], "question 1: malformed trace .*'answer'"),
        ([own({"answer": "4"})], "malformed trace .*'token_ids'"),
        ([own(trace(token_ids=5))], "malformed trace"),
        (['{"traces": ["not a trace"]}'], "question 0: an object"),
        ([{"traces": ["not a trace"]}], "malformed trace"),
        ([own(trace(probes=[["soon", "4"]]))], "malformed trace"),
        ([{"each_branch": []}], "malformed trace .*'probe_freq'"),
        ([{"each_branch": [], "probe_freq": 10}], "no traces"),
        ([{"each_branch": [[["4"], 20]], "probe_freq": 10}], "malformed trace"),
        ([{"each_branch": [[["4"], "many", "4"]], "probe_freq": 10}], "malformed trace .*many"),
        ([{"each_branch": [[["4"], 20, "4"]], "probe_freq": 0}], "malformed trace"),
        ([{"each_branch": [[[], -1, "4"]], "probe_freq": 10}], "malformed trace .*-1 tokens"),
    ],
)
def test_malformed_pools(pool, content, message):
    with pytest.raises(PoolError, match=message):
        read_pool(pool(content))


def test_a_missing_file(tmp_path):
    with pytest.raises(PoolError, match=r"none\.jsonl cannot be read"):
        read_pool(tmp_path / "none.jsonl")
