import asyncio
import subprocess
import sys
import threading
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonprune.answers import AnswerClasses, canonical, equivalent

CANONICAL = [
    # Numbers.
    ("18", "18"),
    ("18.00", "18"),
    ("18.", "18"),
    ("007", "7"),
    ("+5", "5"),
    ("$1,234.50", "2469/2"),
    (r"\$32,\!348", "32348"),
    (r"10{,}080", "10080"),
    (r"1\,000\,000", "1000000"),
    ("€ 5", "5"),
    ("5 €", "5"),
    ("-$5", "-5"),
    ("−5", "-5"),
    ("- 5", "-5"),
    ("50%", "50"),
    (r"$50\%$", "50"),
    ("3/4", "3/4"),
    ("6/8", "3/4"),
    (".75", "3/4"),
    (r"\frac{3}{4}", "3/4"),
    (r"\dfrac34", "3/4"),
    (r"\tfrac{3}4", "3/4"),
    (r"-\frac{1}{2}", "-1/2"),
    (r"\frac{-1}{2}", "-1/2"),
    ("1 1/2", "3/2"),
    ("-1 1/2", "-3/2"),
    (r"137 \frac{1}{2}", "275/2"),
    ("1½", "3/2"),
    ("1/0", "1/0"),
    ("6.72e-5", "21/312500"),
    (r"6.72 \times 10^{-5}", "21/312500"),
    ("6.72 × 10^-5", "21/312500"),
    ("2E3", "2000"),
    (r"145^\circ", "145"),
    ("45°", "45"),
    (r"\frac{270}7\text{ degrees}", "270/7"),
    (r"\(5\)", "5"),
    (r"\[5\]", "5"),
    ("$$5$$", "5"),
    (r"\text{5}", "5"),
    (r"\boxed{\mathbf{5}}", "5"),
    ("**5**", "5"),
    ("x = 5", "5"),
    (r"$\theta=30^\circ$", "30"),
    ("x_1 = 3", "3"),
    ("٣", "3"),
    # Choices.
    ("b", "B"),
    ("(b)", "B"),
    ("**(B)**", "B"),
    ("B.", "B"),
    ("Option B", "B"),
    (r"\text{(B)}", "B"),
    ("e", "e"),
    ("i", "i"),
    ("x", "x"),
    # Formulas.
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \frac{\pi}{2})"),
    ("( 1 ,-2 )", "(1, -2)"),
    ("3,5,7", "3, 5, 7"),
    ("3, 500", "3, 500"),
    ("y = 2x + 3", "2x+3"),
    ("f(x) = 2", "f(x)=2"),
    ("x = y = 2", "x=y=2"),
    (r"2 \sqrt{5}", r"2\sqrt{5}"),
    (r"\pi r^2", r"\pi r^2"),
    ("πr²", r"\pi r^2"),
    # Words and JSON.
    ("New  York.", "new york"),
    (r"\textbf{\text{Evelyn}}", "evelyn"),
    ('"Yes"', "yes"),
    ('{"b": 1.0, "a": "x  y"}', '{"a":"x  y","b":1}'),
    ("", ""),
    ("...", ""),
    ("🎉", "🎉"),
]


@pytest.mark.parametrize(("answer", "form"), CANONICAL)
def test_canonical(answer: str, form: str) -> None:
    assert canonical(answer) == form
    assert canonical(form) == form


DIFFERENT = [
    ("3", "-3"),
    ("1.5", "15"),
    ("3, 500", "3500"),
    ("1 4/5", "14/5"),
    ("(1, 2)", "[1, 2]"),
    ("(1, 2)", "(2, 1)"),
    (r"\sin 30^\circ", r"\sin 30"),
    ("A", "B"),
    ("x^2", "x2"),
    ("X", "x"),
    ('{"a": "x  y"}', '{"a": "x y"}'),
    ("0.3333", "1/3"),
]


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_different_answers_have_different_forms(a: str, b: str) -> None:
    assert not equivalent(a, b)


HOSTILE = {
    "power": "9**9**9**9",
    "digits": "7" * 1_000_000,
    "exponent": "1e9999",
    "large exponent": r"5 \times 10^{9999}",
    "braces": "{" * 10_000 + "}" * 10_000,
    "wrappers": r"\text{" * 10_000 + "5" + "}" * 10_000,
    "few wrappers": r"\text{" * 500 + "5" + "}" * 500,
    "emphasis": "*" * 20_001,
    "fractions": r"\frac" * 4_000,
    "JSON": '[{"a":' * 100_000,
    "spaces": " " * 1_000_000,
    "inner spaces": ("a" + " " * 99) * 10_000,
    "commas": "," * 20_000,
    "backslashes": "\\" * 20_000,
    "emoji": "👍🏽" * 300_000,
    "surrogate": "\udfff",
    "null": "\0",
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_answers_are_quick(answer: str) -> None:
    started = time.process_time()
    form = canonical(answer)
    assert canonical(form) == form
    assert equivalent(answer, answer)
    assert time.process_time() - started < 2


PIECES = (
    r"\frac { } 3 4 12 , 000 . - + ( ) [ ] $ \$ \text{ } % ^ \circ x = e \left \right \! \, ~ \ ** a B / 10 \times "
    "½ ² ' JSON"
)
TEXTS = st.text() | st.lists(st.sampled_from([*PIECES.split(), " ", '"', "[{", '"a":1}', "]", "\n"])).map("".join)


@settings(deadline=None)
@given(TEXTS)
def test_canonical_is_idempotent(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


NUMBERS = st.fractions(max_denominator=1000)
WAYS = [
    str,
    lambda x: f"${x}$",
    lambda x: f"x = {x}",
    lambda x: rf"\frac{{{x.numerator}}}{{{x.denominator}}}",
    lambda x: rf"\text{{ {x} }}",
    lambda x: f"{x.numerator:,}/{x.denominator}",
    lambda x: str(x).replace("-", "−"),
]


@settings(deadline=None)
@given(NUMBERS, st.sampled_from(WAYS), st.sampled_from(WAYS), NUMBERS)
def test_numbers_are_equal_exactly_if_their_values_are(x: Fraction, way, other_way, y: Fraction) -> None:  # type: ignore[no-untyped-def]
    assert canonical(way(x)) == str(x)
    assert equivalent(way(x), other_way(x))
    assert equivalent(way(x), other_way(y)) == equivalent(other_way(y), way(x)) == (x == y)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 3), st.sampled_from(WAYS))))
def test_classes_of_numbers_are_their_values(drawn) -> None:  # type: ignore[no-untyped-def]
    classes = AnswerClasses()
    values = [Fraction(top, bottom) for top, bottom, _ in drawn]
    names = [classes.add(way(value)) for value, (_, _, way) in zip(values, drawn, strict=True)]
    assert names == [str(value) for value in values]
    assert classes.representatives == tuple(dict.fromkeys(names))


class Scripted:
    """Knows which pairs are equal or undecided, and keeps what it was asked."""

    def __init__(self, equal: set[frozenset[str]] = frozenset(), undecided: bool = False) -> None:  # type: ignore[assignment]
        self.asked: list[tuple[str, str]] = []
        self.going = threading.Event()
        self.going.set()
        self._equal, self._undecided = equal, undecided

    def equal(self, a: str, b: str) -> bool | None:
        self.going.wait(10)
        self.asked.append((a, b))
        return None if self._undecided else frozenset((a, b)) in self._equal


SUMS = {frozenset(("x+1", "1+x"))}


def test_formulas_are_put_to_the_checker_once() -> None:
    checker = Scripted(SUMS)
    classes = AnswerClasses(checker)
    assert [classes.add(answer) for answer in ("x + 1", "1 + x", "$1+x$", "x-1", "1+x", "x - 1")] == ["x+1"] * 3 + [
        "x-1",
        "x+1",
        "x-1",
    ]
    assert checker.asked == [("1+x", "x+1"), ("x+1", "x-1")]
    assert classes.representatives == ("x+1", "x-1")


@pytest.mark.parametrize(
    ("a", "b", "asks"),
    [
        ("5", "7", False),
        ("A", "x+1", False),
        ("Paris", "x+1", False),
        ("Paris, France", "London, England", False),
        ('{"a": 1}', "x+1", False),
        ("x+" * 600 + "1", "x+1", False),
        ("北京(首都)", "x+1", False),
        ("5", r"\sqrt{25}", True),
        ("1024", "2^{10}", True),
        ("2x", "x2", True),
        ("3, 5", "5, 3", True),
        ("[0, 1)", r"0 \le x < 1", True),
        (r"5\text{ cm}", "5", True),
        (r"\sin x", "sin(x)", True),
    ],
)
def test_only_mathematics_is_put_to_the_checker(a: str, b: str, asks: bool) -> None:
    checker = Scripted()
    assert not equivalent(a, b, checker)
    assert not equivalent(b, a, checker)
    classes = AnswerClasses(checker)
    assert classes.add(a) != classes.add(b)
    assert len(checker.asked) == 3 * asks
    assert len(set(checker.asked)) == asks, "a pair is asked about in one order"


def test_equivalent_asks_the_checker() -> None:
    assert equivalent("x+1", "1+x", Scripted(SUMS))
    assert equivalent("1+x", "x+1", Scripted(SUMS))
    assert not equivalent("1+x", "x+1")


def test_undecided_pairs_count_as_different() -> None:
    classes = AnswerClasses(Scripted(undecided=True))
    assert [classes.add(answer) for answer in ("x+1", "1+x", "1+x")] == ["x+1", "1+x", "1+x"]
    assert classes.undecided == 1


async def test_the_event_loop_goes_on_while_the_checker_works() -> None:
    checker = Scripted(SUMS)
    classes = AnswerClasses(checker)
    assert await classes.add_async("x+1") == "x+1"
    checker.going.clear()
    waiting = asyncio.create_task(classes.add_async("1+x"))
    await asyncio.sleep(0.05)
    assert await classes.add_async("x + 1") == "x+1", "a known form does not wait"
    assert not waiting.done()
    checker.going.set()
    assert await waiting == "x+1"


async def test_concurrent_tasks_agree() -> None:
    checker = Scripted(SUMS)
    classes = AnswerClasses(checker)
    names = await asyncio.gather(*(classes.add_async(answer) for answer in ["x+1", "1+x", "x-1", "7"] * 8))
    assert len(set(names)) == len(classes.representatives) == 3
    assert len(checker.asked) == len(set(checker.asked))


def test_importing_is_light() -> None:
    code = "import reasonprune.answers, sys; print(*{'sympy', 'math_verify', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
