from __future__ import annotations

from typing import Any

import pytest

from reasonprune.graph.linking import given, link
from reasonprune.graph.memory import MemoryStore
from reasonprune.graph.store import Triple
from reasonprune.graph.thesaurus import english


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("who directed [Red Dunes]", [("Red Dunes", "marked")]),
        ("who directed [Red Dunnes]", [("Red Dunes", "fuzzy")]),
        ("who directed Red Dunes?", [("Red Dunes", "exact")]),
        ("what is red_dunes 's genre", [("Red Dunes", "exact")]),
        ("who is Ada Lang's husband", [("Ada Lang", "exact")]),
        ("who directed Red Dunnes?", [("Red Dunes", "fuzzy")]),
        ("films with Ben Ode and Cleo Marsh", [("Ben Ode", "exact"), ("Cleo Marsh", "exact")]),
        ("who directed [Blue Sands]", []),
        ("wer hat das gemacht", []),
    ],
)
def test_topics(films: MemoryStore, question: str, found: list[tuple[str, str]]) -> None:
    topics = link(question, films, None, english())
    assert [(topic.name, topic.how) for topic in topics] == found
    for topic in topics:
        assert 0 <= topic.start < topic.end <= len(question)


def test_spelled_just_so_goes_first() -> None:
    store = MemoryStore([Triple("x", "has_genre", "Horror"), Triple("x", "has_tags", "horror")])
    (topic,) = link("films about [horror]", store, None, english())
    assert [store.name(entity) for entity in topic.entities] == ["horror"]
    (topic,) = link("films about [HORROR]", store, None, english())
    assert len(topic.entities) == 2


def test_near_in_meaning(encoder: Any) -> None:
    store = MemoryStore([Triple("United States Navy", "country", "United States")])
    assert link("ships of the US navy", store, None, english()) == []
    (topic,) = link("ships of the US navy", store, encoder, english())
    assert (topic.name, topic.how) == ("United States Navy", "embedding")


def test_given(films: MemoryStore) -> None:
    topic = given("what is RED DUNES", "Red Dunes", films)
    assert topic is not None
    assert (topic.start, topic.end) == (8, 17)
    assert given("what is it", "Red Dunes", films) is not None
    assert given("what is it", "Blue Dunes", films) is None
