"""What followed earlier occurrences of the last tokens, against the plainest search."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.speculative.matching import LONGEST, Matches, continuations, occurrences
from reasonprune.speculative.tree import Source

TEXT = st.lists(st.integers(0, 2), min_size=1, max_size=40).map(lambda tokens: np.array(tokens, np.int32))


@given(TEXT)
def test_levels_are_those_of_a_plain_search(text: np.ndarray) -> None:
    tokens, found = text.tolist(), {matched: ends.tolist() for matched, ends in occurrences(text, text, 6)}
    for matched in range(1, 7):
        plain = [end for end in range(matched, len(tokens)) if tokens[end - matched : end] == tokens[-matched:]]
        assert found.get(matched, []) == (plain if len(tokens) >= matched else [])


@given(TEXT, st.integers(1, 8), st.integers(1, 5))
def test_continuations_repeat_the_text(text: np.ndarray, length: int, most: int) -> None:
    found = continuations(text, text, length, most, Source.REQUEST)
    assert len(found) <= most
    assert [c.matched for c in found] == sorted((c.matched for c in found), reverse=True)
    tokens = text.tolist()
    for continuation in found:
        assert len(continuation.tokens) == length, "a continuation that reaches the end goes on as a repetition would"
        assert any(
            tokens[end - continuation.matched : end] == tokens[-continuation.matched :]
            and (tokens + list(continuation.tokens))[end : end + length] == list(continuation.tokens)
            for end in range(continuation.matched, len(tokens))
        )


def test_the_latest_of_equal_matches_goes_first() -> None:
    text = np.array([7, 1, 7, 2, 7, 3, 7], np.int32)
    assert [c.tokens[0] for c in continuations(text, text, 1, 2, Source.REQUEST)] == [3, 2]


def test_a_repetition_is_continued() -> None:
    text = np.array([5, 6, 5, 6], np.int32)
    assert continuations(text, text, 5, 1, Source.REQUEST)[0].tokens == [5, 6, 5, 6, 5]


def test_nothing_crosses_a_separator() -> None:
    text = np.array([1, 2, 3, -1, 4, 1, 2, -1], np.int32)
    found = continuations(text, np.array([9, 1, 2], np.int32), 4, 4, Source.RECENT, separator=-1)
    assert [c.tokens for c in found] == [[3]]


@given(TEXT, TEXT, st.lists(st.integers(0, 2), max_size=6))
def test_the_longest_matches_of_a_growing_context_are_those_of_a_new_search(
    text: np.ndarray, context: np.ndarray, more: list[int]
) -> None:
    for source, searched in ((Source.RECENT, text), (Source.REQUEST, context)):
        grown, whole = Matches.of(searched, context, source), context
        for token in more:
            grown = grown.after(token)
            whole = np.append(whole, np.int32(token))
        anew = Matches.of(whole if source is Source.REQUEST else text, whole, source)
        assert grown.longest(100)[1] == anew.longest(100)[1]
        assert min(grown.longest(1)[0], LONGEST) == anew.longest(1)[0]
