from __future__ import annotations

from typing import Any

import pytest

from reasonprune.errors import RequestError
from reasonprune.pruner.shapes import normalized, shaped, titles_of


@pytest.mark.parametrize(
    ("question", "context", "documents", "structure"),
    [
        ("q", "c", [["c"]], "str"),
        (["q"], "c", [["c"]], "str"),
        ("q", ["c", "d"], [["c", "d"]], "list"),
        ("q", [["s1", "s2"], "d"], [[["s1", "s2"], "d"]], "list"),
        (["q", "r"], ["c", "d"], [["c"], ["d"]], "aligned"),
        (["q", "r"], [["c", "d"], ["e"]], [["c", "d"], ["e"]], "nested"),
        (["q", "r"], [[["s1", "s2"]], ["e"]], [[["s1", "s2"]], ["e"]], "nested"),
        ("q", [], [[]], "list"),
    ],
)
def test_known_shapes(question: Any, context: Any, documents: Any, structure: str) -> None:
    inputs = normalized(question, context)
    assert (inputs.documents, inputs.structure) == (documents, structure)


@pytest.mark.parametrize(
    ("question", "context", "message"),
    [
        ("", "c", "question is empty"),
        ("  ", "c", "question is empty"),
        ([], "c", "empty list"),
        (["q", ""], ["c", "d"], r"question\[1\] is empty"),
        (["q", "r"], "c", "a list of 2 contexts"),
        (["q", "r"], ["c"], "taken as pairs"),
        (["q", "r"], ["c", ["d"]], "mixes strings with lists"),
        ("q", [[["s"]]], "sentences of one document"),
        ("q", [1], r"context\[0\] is int"),
        ("q", 5, "Known shapes"),
        (5, "c", "Known shapes"),
        (["q", 1], ["c", "d"], r"question\[1\] is int"),
    ],
)
def test_wrong_nesting_is_told_apart(question: Any, context: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        normalized(question, context)


def test_results_go_back_in_the_same_shape() -> None:
    assert shaped([["a"]], "str") == "a"
    assert shaped([["a", "b"]], "list") == ["a", "b"]
    assert shaped([["a"], ["b"]], "aligned") == ["a", "b"]
    assert shaped([["a", "b"], []], "nested") == [["a", "b"], []]


def test_titles_follow_the_contexts() -> None:
    pairs, nested = normalized(["q", "r"], ["c", "d"]), normalized(["q", "r"], [["c", "d"], ["e"]])
    assert titles_of("t", pairs) == [["t"], ["t"]]
    assert titles_of(["t", "u"], pairs) == [["t"], ["u"]]
    assert titles_of(["t", "u"], nested) == [["t", "t"], ["u"]]
    assert titles_of([["t", "u"], ["v"]], nested) == [["t", "u"], ["v"]]
    for wrong in (["t"], ["t", 5], 7):
        with pytest.raises(RequestError, match="title"):
            titles_of(wrong, pairs)
