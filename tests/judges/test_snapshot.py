from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.judges.snapshot import REASONING_WORDS, Snapshot, first_tokens, first_words

ENDED = Snapshot(3, 5, "0123456789", "What?", (1, 2, 3, 4, 5), ended=True, answer="9")


@pytest.mark.parametrize(
    ("tokens", "text", "ids"), [(1, "01", (1,)), (2, "0123", (1, 2)), (4, "01234567", (1, 2, 3, 4))]
)
def test_the_text_is_cut_in_proportion_to_the_tokens(tokens, text, ids):
    assert first_tokens(ENDED, tokens) == Snapshot(3, tokens, text, "What?", ids)


@pytest.mark.parametrize("tokens", [5, 6, 500])
def test_a_trace_that_is_no_longer_than_asked_for_is_left_as_it_is(tokens):
    assert first_tokens(ENDED, tokens) is ENDED


def test_an_empty_trace_is_left_as_it_is():
    empty = Snapshot(0, 0, "")
    assert first_tokens(empty, 10) == first_words(empty, 1) == empty


def test_what_is_cut_has_not_ended_and_has_no_answer():
    cut = first_tokens(ENDED, 4)
    assert (cut.ended, cut.answer) == (False, None)
    words = first_words(replace(ENDED, text="Wait. 9, so 9 it is then"), 2)
    assert (words.text, words.ended, words.answer) == ("Wait. 9, ", False, None)


def test_a_trace_without_token_ids_is_cut_too():
    assert first_tokens(Snapshot(0, 10, "0123456789"), 3) == Snapshot(0, 3, "012")


THOUGHT = "Add them: 4. Wait, is it? WAIT. Sober but, no"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (1, "Add them: 4. "),
        (2, "Add them: 4. Wait, is it? "),
        (3, "Add them: 4. Wait, is it? WAIT. Sober "),
        (4, THOUGHT),  # there are three
    ],
)
def test_the_cut_is_before_the_reasoning_word_of_that_number(words, text):
    whole = Snapshot(0, len(THOUGHT), THOUGHT, ended=True, answer="4")
    cut = first_words(whole, words)
    assert (cut.text, cut.tokens) == (text, len(text))
    assert (cut.ended, cut.answer) == ((True, "4") if words == 4 else (False, None))


def test_tokens_up_to_a_word_are_estimated_from_the_text():
    cut = first_words(Snapshot(0, 8, "0123456789 so 56", token_ids=tuple(range(8))), 1)
    assert (cut.tokens, cut.token_ids) == (5, (0, 1, 2, 3, 4))


def test_a_word_in_the_last_token_cuts_all_the_same():
    whole = Snapshot(0, 2, "The sum of both of them is 19, so", token_ids=(1, 2), ended=True, answer="19")
    assert first_words(whole, 1) == Snapshot(0, 1, "The sum of both of them is 19, ", token_ids=(1,))


@pytest.mark.parametrize("word", REASONING_WORDS)
def test_each_reasoning_word_counts_where_it_stands_alone(word):
    assert first_words(Snapshot(0, 40, f"un{word} {word}s {word.upper()}, and 4 more"), 1).text == f"un{word} {word}s "


@given(length=st.integers(0, 60), tokens=st.integers(0, 20), at=st.integers(0, 25), ended=st.booleans())
def test_a_beginning_is_a_beginning(length, tokens, at, ended):
    whole = Snapshot(0, tokens, "x" * length, "", tuple(range(tokens)), ended, "4" if ended else None)
    cut = first_tokens(whole, at)
    assert whole.text.startswith(cut.text)
    assert cut.tokens == len(cut.token_ids) == min(at, tokens)
    assert cut.ended == (ended and at >= tokens)
    assert (cut.answer is not None) == cut.ended
