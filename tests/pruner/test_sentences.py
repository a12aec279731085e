from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonprune.pruner.sentences import Unit, from_sentences, language_of, split

PIECES = [
    "One. ",
    "Dr. Who?\n",
    "\n\n",
    "| a | b |\n",
    "|---|---|\n",
    "```\n",
    "# T\n",
    "- x. y\n",
    "你好。",
    "مرحبا. ",
    " ",
    "[1]",
]


def texts(text: str, units: list[Unit]) -> list[str]:
    return [text[unit.start : unit.end] for unit in units]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=30))
def test_units_tile_any_text(text: str) -> None:
    units = split(text)
    assert "".join(texts(text, units)) == text
    assert all(unit.start < unit.end for unit in units)
    assert all(head < i for i, unit in enumerate(units) for head in unit.heads)


def test_abbreviations_citations_and_quotes_stay_with_their_sentence() -> None:
    text = 'Dr. Smith of the U.S. Army earned $4.5 million.[1] He left.[2][3] "Why?" she asked. Nobody knew.'
    assert texts(text, split(text)) == [
        "Dr. Smith of the U.S. Army earned $4.5 million.[1] ",
        "He left.[2][3] ",
        '"Why?" she asked. ',
        "Nobody knew.",
    ]


def test_a_code_block_is_one_unit() -> None:
    text = "See below.\n```py\nx. Y = 1\n\nprint(x)\n```\nDone. Really."
    assert texts(text, split(text)) == ["See below.\n", "```py\nx. Y = 1\n\nprint(x)\n```\n", "Done. ", "Really."]


def test_a_table_row_brings_its_header() -> None:
    text = "Sizes.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n"
    units = split(text)
    assert [unit.kind for unit in units] == ["prose", "table", "table", "table", "table"]
    assert [unit.heads for unit in units] == [(), (), (1,), (1, 2), (1, 2)]


def test_headings_and_list_items_begin_units() -> None:
    text = "# Title\nOne sentence.\n- first item\n- second item"
    assert texts(text, split(text)) == ["# Title\n", "One sentence.\n", "- first item\n", "- second item"]


@pytest.mark.parametrize(
    ("text", "language", "count"),
    [
        ("これはペンです。次は本です。", "ja", 2),
        ("你好。今天天气很好！再见。", "zh", 3),
        ("مرحبا بكم. كيف حالك؟ أنا بخير.", "ar", 3),
        ("שלום. מה שלומך? הכול טוב.", "he", 3),
        ("Это книга. Это стол.", "ru", 2),
        ("यह किताब है। वह मेज है।", "hi", 2),
        ("A plain text. Another one.", "en", 2),
    ],
)
def test_languages(text: str, language: str, count: int) -> None:
    assert language_of(text) == language
    assert len(split(text)) == count


def test_a_splitter_of_the_users_own() -> None:
    text = "a; b; c"
    assert texts(text, split(text, lambda prose: prose.split("; "))) == ["a; ", "b; ", "c"]


def test_nothing_and_white_space() -> None:
    assert split("") == []
    assert split(" \n ") == [Unit(0, 3)]


def test_sentences_split_by_the_caller() -> None:
    text, units = from_sentences(["A. ", "B."])
    assert (text, texts(text, units)) == ("A. B.", ["A. ", "B."])
