from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from reasonprune.cot.located import locate, token_starts
from reasonprune.models import resolve


@pytest.mark.parametrize(
    ("text", "chain", "anchor", "marked"),
    [
        ("<think>\nAdd.\n\nGo.\n</think>\n\nIt is 3.", "Add.\n\nGo.", "It is 3.", True),
        ("Add.\n</think>It is 3.", "Add.", "It is 3.", True),  # the template opened the tag
        ("<think>\nAdd. And", "Add. And", "", True),
        ("<think></think>It is 3.", "", "It is 3.", True),
        ("First add.\n\nSo it is 3.", "First add.\n\nSo it is 3.", "So it is 3.", False),
        ("", "", "", False),
    ],
)
def test_the_chain_and_the_answer_are_told_apart(text: str, chain: str, anchor: str, marked: bool) -> None:
    place = locate(text)
    assert (text[place.start : place.end], place.anchor, place.marked) == (chain, anchor, marked)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(resolve("tiny").path)


@pytest.mark.parametrize("text", ["37+53=90.\n\n90*7=630.", "é 😀 ok"])
def test_tokens_begin_where_the_tokenizer_says(tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    starts = token_starts(tokenizer, [*ids, tokenizer.eos_token_id], text)
    assert starts is not None
    assert len(starts) == len(ids)
    assert starts[0] == 0
    assert starts == sorted(starts)


def test_a_word_in_other_tokens_than_the_tokenizer_would_use(tokenizer) -> None:
    letters = [tokenizer.encode(letter, add_special_tokens=False)[0] for letter in "subtract"]
    assert token_starts(tokenizer, letters, "subtract") == list(range(8))


def test_tokens_of_another_text(tokenizer) -> None:
    assert token_starts(tokenizer, tokenizer.encode("add 3", add_special_tokens=False), "add 4") is None
