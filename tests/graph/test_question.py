from __future__ import annotations

import pytest

from reasonprune.graph.question import analyse
from reasonprune.graph.thesaurus import english


def analysed(marked: str):
    """`marked` holds its topic in brackets."""
    start, end = marked.index("["), marked.index("]") + 1
    return analyse(marked, [(start, end)], english())


def content(question) -> list[str]:
    return [word for word, says in zip(question.words, question.content, strict=True) if says]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the job of the wife of [X] 's son ?", ["son", "wife", "job"]),
        ("[X] 's mother 's father 's faith", ["mother", "father", "faith"]),
        ("the movies directed by [X] starred who", ["directed", "movies", "starred"]),
        ("when did the films starred by [X] actors release", ["actors", "release", "starred", "films"]),
        ("the films that share actors with [X] were in which languages", ["actors", "films", "languages"]),
        ("what does [X] 's husband do ?", ["husband", "occupation"]),
        ("who is the grandfather of [X]", ["father", "father"]),
    ],
)
def test_words_in_walking_order(text: str, words: list[str]) -> None:
    assert content(analysed(text)) == words


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("who directed [X]", "person"),
        ("who are movie writers of [X]", "person"),
        ("which movies star [X]", "work"),
        ("which film stars [X]", "work"),
        ("which film stars acted in [X]", "person"),
        ("what is a movie written by [X]", "work"),
        ("what words describe film [X]", "topic"),
        ("the films of [X] were in which genres", "genre"),
        ("when was [X] released", "time"),
        ("where was [X] born", "place"),
        ("who is the cause of death of [X] 's son", "cause"),
        ("what does [X] appear in", None),
        ("was hat [X] gemacht", None),
    ],
)
def test_the_kind_asked_for(text: str, kind: str | None) -> None:
    assert analysed(text).kind == kind


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("who co-starred with [X]", True),
        ("films by the same director as [X]", True),
        ("who wrote [X]", False),
        ("the coast of [X]", False),
    ],
)
def test_something_in_common(text: str, shares: bool) -> None:
    assert analysed(text).shares is shares


def test_phrases_do_not_cross_the_topic_or_another_topic() -> None:
    text = "films of [A] and B c"
    question = analyse(text, [(9, 12), (17, 18)], english())
    assert all("b" not in span.text.split() for span in question.spans)
    assert analyse("", [], english()).words == ()
