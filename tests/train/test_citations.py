from __future__ import annotations

import pytest

from reasonprune.train.citations import prompt, read_reply


def test_sentences_are_numbered_from_one_on_a_line_each() -> None:
    text = prompt("Who?", ["A fox.\nIt runs. ", "A cat."])
    assert "Question: Who?" in text
    assert text.endswith("\n[1] A fox. It runs.\n[2] A cat.")
    assert "No answer" in text


@pytest.mark.parametrize(
    ("reply", "labels"),
    [
        ("A fox [1].", (True, False, False)),
        ("A fox [1][3].", (True, False, True)),
        ("A fox [1, 3], or [ 2 ].", (True, True, True)),
        ("[3]", (False, False, True)),
        ("He said [sic] so [2].", (False, True, False)),
    ],
)
def test_citations_are_labels(reply: str, labels: tuple[bool, ...]) -> None:
    found = read_reply(reply, 3)
    assert (found.outcome, found.labels) == ("cited", labels)


@pytest.mark.parametrize("reply", ["No answer", "no answer.", ' "No answer." ', "No answer: nothing is said of it."])
def test_without_an_answer_nothing_is_marked(reply: str) -> None:
    found = read_reply(reply, 2)
    assert (found.outcome, found.labels) == ("unanswered", (False, False))


@pytest.mark.parametrize("reply", ["A fox.", "", "A fox (1).", "There is no answer to that in life."])
def test_an_answer_without_citations_is_discarded(reply: str) -> None:
    assert read_reply(reply, 2) == read_reply("nothing", 2)
    assert read_reply(reply, 2).outcome == "uncited"


@pytest.mark.parametrize(
    "reply", ["It is [0].", "It is [4].", "It is [1][4].", "It is [1-3].", "In [May 1998].", "No answer [1].", "[1;2]"]
)
def test_citations_of_nothing_are_discarded(reply: str) -> None:
    found = read_reply(reply, 3)
    assert (found.outcome, found.labels) == ("invalid", None)
