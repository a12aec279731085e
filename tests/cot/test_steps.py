from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.cot.steps import split_steps


def parts(text: str) -> list[str]:
    return [text[step.start : step.end] for step in split_steps(text)]


def test_paragraphs_are_steps() -> None:
    assert parts("First we add.\n\nSo 3.\n\n\nWait, check.\n") == ["First we add.\n\n", "So 3.\n\n\n", "Wait, check.\n"]


def test_list_items_are_steps_of_their_own() -> None:
    text = "We need:\n1. eggs a day\n   and more of them\n2. eggs eaten\n- and a dash\n\nDone."
    assert parts(text) == [
        "We need:\n",
        "1. eggs a day\n   and more of them\n",
        "2. eggs eaten\n",
        "- and a dash\n\n",
        "Done.",
    ]


def test_code_is_never_torn() -> None:
    text = "Write it:\n```python\ndef f():\n\n    # - not an item\n    return 1\n```\nNow test.\n\nDone."
    assert parts(text) == ["Write it:\n", text[10:-16], "Now test.\n\n", "Done."]


def test_a_fence_within_a_longer_fence_does_not_close_it() -> None:
    text = "````\n```\n\nx\n```\n````\nEnd."
    assert parts(text) == ["````\n```\n\nx\n```\n````\n", "End."]


def test_an_unbalanced_fence_reaches_to_the_end() -> None:
    assert parts("Start.\n\n```\na\n\nb\n\nc") == ["Start.\n\n", "```\na\n\nb\n\nc"]


@pytest.mark.parametrize(
    "formula", ["\\[\na = 1\n\nb = 2\n\\]", "$$\na\n\nb\n$$", "\\begin{align*}\na\n\nb\n\\end{align*}"]
)
def test_display_formulas_are_never_torn(formula: str) -> None:
    assert parts(f"We have\n\n{formula}\n\nSo c.") == ["We have\n\n", f"{formula}\n\n", "So c."]


def test_a_formula_on_its_own_lines_ends_a_step() -> None:
    text = "First we halve:\n\\[\n40/2 = 20\n\\]\nNext, with \\[ x \\] in it,\n\\[ 20 + 5 = 25 \\].\nSo 25."
    first, second, third = parts(text)
    assert first == "First we halve:\n\\[\n40/2 = 20\n\\]\n"
    assert second.startswith("Next, with")
    assert third == "So 25."


def test_an_unclosed_formula_is_plain_text() -> None:
    assert parts("We have \\[ x\n\nand $$ y\n\nand \\begin{a} z") == [
        "We have \\[ x\n\n",
        "and $$ y\n\n",
        "and \\begin{a} z",
    ]


def test_without_blank_lines_lines_are_steps() -> None:
    assert parts("3+4=7.\n7*2=14.\nDone.") == ["3+4=7.\n", "7*2=14.\n", "Done."]


def test_a_single_line_falls_back_to_sentences() -> None:
    assert parts("There are 3.5 eggs. So we add. It is 7.5!") == [
        "There are 3.5 eggs. ",
        "So we add. ",
        "It is 7.5!",
    ]


@pytest.mark.parametrize("text", ["one", "```\ncode\n\nonly\n```\n", "\\[ x = 1. So y \\]"])
def test_what_cannot_be_divided_is_one_step(text: str) -> None:
    assert parts(text) == [text]


def test_nothing_has_no_steps() -> None:
    assert split_steps("") == []


@pytest.mark.parametrize(
    ("text", "word"), [("12. **Add** them", "Add"), ("- Then", "Then"), ("\\[ 1", "\\["), ("* ", "* ")]
)
def test_the_content_begins_after_marks(text: str, word: str) -> None:
    assert text[split_steps(text)[0].content :].startswith(word)


FRAGMENTS = st.sampled_from(
    (
        *("\n", "\n\n", "a b", "So. It", "- item", "1. x", "```", "~~~", " ", "é", "\r\n"),
        *("\\[", "\\]", "$$", "\\begin{a}", "\\end{a}"),
    )
)


@given(st.lists(FRAGMENTS, max_size=30).map("".join))
def test_steps_add_up_to_the_text(text: str) -> None:
    steps = split_steps(text)
    assert "".join(text[step.start : step.end] for step in steps) == text
    for step in steps:
        assert step.start <= step.content < step.end
        assert len(steps) == 1 or text[step.start : step.end].strip()
