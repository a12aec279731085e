import json
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reasonprune.answers import canonical, extract_answer

KINDS = ("auto", "boxed", "number", "choice", "json", "text")

AUTO = [
    # Word problems, as GSM8K has them.
    ("She sells 16 - 3 - 4 = 9 eggs.\nShe earns 9 * 2 = $18 a day.\n#### 18", "18"),
    ("9 * 2 = 18\n#### $1,234.50", "1,234.50"),
    ("#### -5\n", "-5"),
    ("#### Step 1: read the question\nIt says 3 and 4.\n\nSo the total is 7.", "7"),
    ("#### 2 Solutions\n\nThe answer is 12.", "12"),
    ("First 3 * 4 = 12. So the answer is 12.", "12"),
    ("The answer is $18.", "18"),
    ("The answer is $18.00 per day.", "18"),
    ("The answer is 42 apples.", "42"),
    ("The answer is 6 * 3 = 18.", "18"),
    ("The answer is 1,250 km/h because it flies.", "1250"),
    ("The answer is 3.5. We checked it.", "3.5"),
    ("The answer is therefore 42", "42"),
    ("The final answer is: **42**", "42"),
    ("**Final Answer:** 18", "18"),
    ("**Answer**: 18 dollars", "18"),
    ("### Final Answer\n\n**18**", "18"),
    ("**Final Answer**\n\\[\n\\frac{3}{4}\n\\]", "3/4"),
    ("The answer is 5.\nWait, that is wrong.\nThe answer is 6.", "6"),
    ("The answer is 17. Double-check: the answer is correct.", "17"),
    ("The answer is 5 million", "5 million"),
    ("So Tom has 5 + 7 = 12 marbles left.", "12"),
    ("They drove for 3-4 hours", "4"),
    ("The result is −7.", "-7"),
    ("It fell to -$3.50!", "-3.5"),
    ("That leaves 1 1/2 cups.", "1 1/2"),
    ("Ana has 3 cats.\n\nHence 25%\n\n", "25"),
    ("It costs 1,000,000 dollars 🎉", "1000000"),
    # Formulas, as MATH has them.
    (r"Thus $x = \boxed{5}$.", "5"),
    (r"\boxed{\frac{14}{3}}", r"\frac{14}{3}"),
    (r"we get $\boxed{\left( 3, \frac{\pi}{2} \right)}.$", r"\left( 3, \frac{\pi}{2} \right)"),
    (r"\boxed{\{1\pm\sqrt{5},-2\}}", r"\{1\pm\sqrt{5},-2\}"),
    (r"First \boxed{3}, then \fbox{4} wins. The answer is 9.", "4"),
    (r"It is \boxed 53 in all", "53"),
    (r"It is $\boxed 5$.", "5"),
    (r"It is \boxed {7}", "7"),
    (r"\boxed{x = \boxed{8}}", "8"),
    (r"Good: \boxed{9}. Cut off: \boxed{\frac{1}{", "9"),
    (r"\boxed{}. The answer is 4.", "4"),
    (r"The answer is $\frac{3}{4}$.", r"\frac{3}{4}"),
    (r"The answer is \(x^2 + 1\), as required.", "x^2 + 1"),
    (r"The answer is $\left(1, 2\right)$. Done.", r"\left(1, 2\right)"),
    ("The answer is $x = 5$.", "5"),
    ("The answer is $3$ and $5$.", "3 and 5"),
    ("Therefore:\n$$x^2 + 2x + 1$$", "x^2 + 2x + 1"),
    ("so we finally have\n\\[\nx = 12\n\\]", "12"),
    (r"Hence the area is $\frac{3}{4}$.", "3/4"),
    # Multiple choice.
    ("The answer is (B).", "B"),
    ("The answer is (B) Paris, since it is the capital.", "B"),
    ("Answer: B. Paris", "B"),
    ("Answer: **C**", "C"),
    ("Answer: **(D)** 42", "D"),
    ("the correct option is C", "C"),
    ("The correct answer is option A because it is first.", "A"),
    ("The answer is b)", "B"),
    ("ANSWER: (c)", "C"),
    (r"\boxed{\text{(B)}}", "B"),
    (r"\boxed{C}", "C"),
    ("I weighed all four options.\n\nB", "B"),
    ("I weighed all four options.\n\n**D.**", "D"),
    ("It must be this one:\n(B) 42", "B"),
    ("The answer is A, B and D.", "A, B and D"),
    # Words.
    ("The answer is Paris.", "Paris"),
    ('Answer: "New York"', "New York"),
    ("The answer to the question is yes.", "yes"),
    ("The answer is A dog.", "A dog"),
    # Reasoning before the answer.
    ("<think>\nMaybe the answer is 3? \\boxed{3}\n</think>\n\nThe answer is 4.", "4"),
    ("The answer is 3.\n</think>\n\nThe answer is 4.", "4"),
    ("<think>It is \\boxed{3}</think>\n\n", "3"),
    ("<think>It is \\boxed{3}</think>\nI am done.", "3"),
    ("<think>So \\boxed{3}. Wait, let me check", "3"),
    ("<think>So the answer is 3. Wait, let me check 4", None),
    ("<think>It is 3.</think>\n", None),
    ("<think>3</think>\n<think>So the answer is 4", None),
    ("The tag is named <think>. The answer is 5.", "5"),
    # Nothing.
    ("", None),
    ("   \n\t", None),
    ("I do not know.", None),
    ("🤷", None),
    (r"\boxed{", None),
    ("The answer is", None),
]


@pytest.mark.parametrize(("text", "expected"), AUTO)
def test_auto(text: str, expected: str | None) -> None:
    answer = extract_answer(text)
    assert (answer and canonical(answer)) == (expected and canonical(expected))


CALL = '<tool_call>\n{"name": "weather", "arguments": {"unit": "C", "city": "Paris"}}\n</tool_call>'
CALL_FORM = '{"arguments":{"city":"Paris","unit":"C"},"name":"weather"}'
STRUCTURED = [
    (CALL, CALL_FORM),
    ("<think>Which city?</think>\n\nLet me look.\n" + CALL, CALL_FORM),
    (CALL + "\n" + CALL.replace("Paris", "Rome"), f"[{CALL_FORM},{CALL_FORM.replace('Paris', 'Rome')}]"),
    (CALL.removesuffix("\n</tool_call>"), CALL_FORM),
    (CALL.replace("{", '{"id": "call_1",', 1), CALL_FORM),
    (
        '<tool_call>{"name": "f", "arguments": "{\\"b\\": 1.0, \\"a\\": 2}"}</tool_call>',
        '{"arguments":{"a":2,"b":1},"name":"f"}',
    ),
    ('<tool_call>{"name": "now"}</tool_call>', '{"arguments":{},"name":"now"}'),
    ('<tool_call>{"name": "weather", "arg</tool_call> The answer is 5.', None),
    ('<tool_call>{"arguments": {}}</tool_call>', None),
    ('{"b": 1,\n "a": [1, 2.50]}', '{"a":[1,2.5],"b":1}'),
    ('```json\n{"b": 1, "a": "é"}\n```', '{"a":"é","b":1}'),
    ("[3, 1, 2]", "[3,1,2]"),
]


@pytest.mark.parametrize(("text", "expected"), STRUCTURED)
@pytest.mark.parametrize("kind", ["auto", "json"])
def test_tool_calls_and_json(text: str, expected: str | None, kind: str) -> None:
    assert extract_answer(text, kind) == expected  # type: ignore[arg-type]


BY_KIND = [
    ("boxed", "The answer is 5.", None),
    ("boxed", r"so \boxed{x+1}.", "x+1"),
    ("number", "The answer is 42 apples.", "42"),
    ("number", r"\boxed{42\text{ apples}}", "42"),
    ("number", "The answer is $1,250.50 in total", "1,250.50"),
    ("number", "It takes 5 hours.\nThat is all I can say.", "5"),
    ("number", r"\boxed{2 + 3 = 5}", "5"),
    ("number", "The answer is B.", None),
    ("number", r"\boxed{\frac{3}{4}}", r"\frac{3}{4}"),
    ("number", "<think>7</think>nothing", None),
    ("choice", "The answer is (B) 42", "B"),
    ("choice", "B is right, as A is too small.\nThat is that.", "B"),
    ("choice", "Among them (C) fits best, I think.", "C"),
    ("choice", r"\boxed{\text{D}}", "D"),
    ("choice", "A cat sat there. I saw it.", None),
    ("choice", "<think>hm \\boxed{E}", "E"),
    ("json", 'Here you are [1]: {"b": 1, "a": 2}. Enjoy!', '{"a":2,"b":1}'),
    ("json", '```json\n{"a": 1}\n```\nor\n```json\n{"a": 2}\n```', '{"a":2}'),
    ("json", "no JSON here {", None),
    ("json", "<think>{}</think>none", None),
    ("text", "<think>hm</think>  New\n York. ", "new york"),
    ("text", "STRASSE!", "strasse"),
    ("text", "<think>still thinking", None),
]


@pytest.mark.parametrize(("kind", "text", "expected"), BY_KIND)
def test_by_kind(kind: str, text: str, expected: str | None) -> None:
    assert extract_answer(text, kind) == expected  # type: ignore[arg-type]


HOSTILE = {
    "long": "the answer is not " * 60_000,
    "long number": "7" * 1_000_000,
    "long line": "a" * 1_000_000,
    "new lines": "\n" * 1_000_000,
    "spaces": "answer" + " " * 1_000_000 + "is 5",
    "nested boxes": "\\boxed{" * 10_000 + "5" + "}" * 10_000,
    "open boxes": "\\boxed{" * 100_000,
    "braces": "{" * 10_000 + "5" + "}" * 10_000,
    "brackets": "[" * 500_000,
    "objects": '{"a":' * 200_000,
    "deep JSON": "[" * 10_000 + "]" * 10_000,
    "fractions": "\\frac{" * 100_000,
    "dollars": "the answer is $" * 50_000,
    "hashes": "#### 1\n" * 100_000,
    "answers": "answer\n" * 100_000,
    "tool calls": "<tool_call>{" * 50_000,
    "fences": "```json\n" * 100_000,
    "parentheses": "(" * 1_000_000,
    "commas": "1," * 500_000,
    "thousands": "1" + ",000" * 250_000,
    "power": "9**9**9**9",
    "exponent": "1e999999999",
    "stars": "*" * 1_000_000,
    "emoji": "👩‍👩‍👧‍👦" * 100_000,
    "surrogate": "\ud800 the answer is \udfff",
    "nulls": "\0" * 1_000_000,
    "thoughts": "<think></think>" * 60_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_texts_are_answered_quickly(text: str) -> None:
    for kind in KINDS:
        started = time.process_time()
        answer = extract_answer(text, kind)
        canonical(text if answer is None else answer)
        assert time.process_time() - started < 2, kind


def test_nested_boxes_are_found_at_any_depth() -> None:
    assert extract_answer("\\boxed{" + "{" * 9_000 + "5" + "}" * 9_000 + "}") == "{" * 9_000 + "5" + "}" * 9_000


PIECES = (
    r"<think> </think> \boxed{ } { [ $ \( the_answer_is answer: #### (B) <tool_call> ```json 1,000 - 3/4 \frac = x ** "
    r". \text{ \ A e i"
)
TEXTS = st.text() | st.lists(st.sampled_from(PIECES.split())).map(lambda pieces: " ".join(pieces).replace("_", " "))


@settings(deadline=None)
@given(TEXTS, st.sampled_from(KINDS))
def test_never_raises_and_never_returns_an_empty_answer(text: str, kind: str) -> None:
    assert extract_answer(text, kind) != ""  # type: ignore[arg-type]


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_key_order_and_spaces_of_json_do_not_matter(value: object) -> None:
    wrapped = {"value": value, "a": 1}
    assume("</think>" not in json.dumps(wrapped))  # ends the reasoning, wherever it stands
    answer = extract_answer(json.dumps(dict(reversed(wrapped.items())), indent=2))
    assert answer == extract_answer(json.dumps(wrapped))
    assert json.loads(answer or "") == wrapped


@settings(deadline=None)
@given(
    st.integers(),
    st.sampled_from(["The answer is {}.", "\\boxed{{{}}}", "#### {}", "So she has {} eggs.", "**Answer:** ${}$"]),
)
def test_integers_are_found_wherever_they_stand(number: int, template: str) -> None:
    for kind in ("auto", "number"):
        assert canonical(extract_answer(template.format(f"{number:,}"), kind) or "") == str(number)  # type: ignore[arg-type]
