from __future__ import annotations

from reasonprune.pruner.lexical import bm25, words


def test_words_lose_case_and_plural() -> None:
    assert words("The Towers' glass") == ["the", "tower", "glass"]


def test_rare_shared_words_count() -> None:
    sentences = ["The bee flies.", "The tower is tall.", "The bee sleeps."]
    scores = bm25("How tall is the tower?", sentences)
    assert max(scores) == scores[1]
    assert bm25("?", sentences) == [0.0, 0.0, 0.0]
    assert bm25("bee", []) == []
