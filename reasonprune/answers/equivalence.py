"""Equality of answers: a cheap normal form, and equivalence classes that ask a checker only about mathematics."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from fractions import Fraction
from typing import Literal, Protocol

MAX_CHARS = 20_000
"""Answers longer than this are compared as they stand, white space apart."""

MAX_MATH_CHARS = 1_000
"""Formulas longer than this are not handed to a checker."""

REAL = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)"
FRAC = rf"\\[dtc]?frac ?(?:\{{ ?([-+]?{REAL}) ?\}}|(\d)) ?(?:\{{ ?({REAL}) ?\}}|(\d))"

_FRAC = re.compile(rf"(\d)? ?{FRAC}")
_NUMBER = re.compile(
    rf"([-+]?) ?[€£¥₹]? ?(?:(\d+) (?=\S+/))?([-+]?{REAL})(?: ?/ ?({REAL}))?"
    r"(?:[eE]([-+]?\d{1,4})| ?(?:\\times|\\cdot|\*|x) ?10 ?\^ ?\{? ?([-+]?\d{1,4}) ?\}?)?"
    r" ?(?:\\?%|[€£¥₹]|°|\^ ?\{? ?\\circ ?\}?|\\degree|(?:\\text ?\{ ?)?degrees? ?\}?)?"
)
_CANONICAL_NUMBER = re.compile(r"-?\d+(?:/\d+)?")
_CHOICE = re.compile(r"(?:(?:option|choice|answer) ?:? ?)?[\[(]?([a-j])[\])]?[.:]?", re.IGNORECASE)
_JSON_START = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[{\"])")
_WRAPPER = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|mbox|boxed|fbox) ?\{")
_BRACE = re.compile(r"\\.|[{}]")
_ASSIGNMENT = re.compile(r"(?:[A-Za-z]|\\(?:alpha|beta|gamma|delta|theta|lambda|mu|phi|omega))(?:_\{?\w{1,3}\}?)? ?= ?")
_THOUSANDS = re.compile(r"\d{3}(?!\d)")
_PAIRS = ("**", "*", "`", '"', "'")

_COMMANDS = r" \times | \cdot | \cdot | \pi | \infty | \le | \ge |\frac12|\frac13|\frac23|\frac14|\frac34|^2|^3"
_SYMBOLS = str.maketrans(
    dict(zip("×·⋅π∞≤≥½⅓⅔¼¾²³", _COMMANDS.split("|"), strict=True)) | dict(zip("−–—‒“”‘’", "----\"\"''", strict=True))
)
_LATEX: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\\?\$"), ""),
    (re.compile(r"(?<!\\)\\[()\[\]]"), ""),
    (re.compile(r"(?<=\d)(?:,? ?\\[!,] ?|\{,\}|~)(?=\d{3}(?!\d))"), ","),
    (re.compile(r"(?<!\\)\\!|\\(?:left|right|[bB]igg?[lr]?|displaystyle)(?![A-Za-z])"), ""),
    (re.compile(r"(?<!\\)\\[,;: ]|\\q?quad(?![A-Za-z])|~"), " "),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
)
_SPACE = re.compile(r"(?<![\w,]) |(?<!,) (?!\w)")
_OPAQUE = re.compile(r"\\(?:text\w*|math\w+|mbox|operatorname|begin|end) ?\{[^{}]{0,60}\}|\\[A-Za-z]+")
_FUNCTIONS = re.compile(r"(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?|log|exp|sqrt|max|min|mod|inf|pmatrix")
_WORD = re.compile(r"[^\W\d_]{3,}")
_OPERATOR = re.compile(r"[-+*/^_=<>(),\[\]{}|!]|\d[A-Za-z]|[A-Za-z]\d")


class Checker(Protocol):
    """Decides whether two formulas are equal; None where it could not tell, for example not in time."""

    def equal(self, a: str, b: str) -> bool | None:
        """Whether the canonical forms `a` and `b` mean the same."""


def canonical_json(text: str) -> str | None:
    """`text`, if it is one JSON object or array, with sorted keys and no spaces (18.0 as 18); otherwise None."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(text, parse_float=_json_float)
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _json_float(digits: str) -> int | float:
    value = float(digits)
    return int(value) if value.is_integer() else value


def canonical(answer: str) -> str:
    """A normal form such that equal forms mean equal answers to one question. Total, idempotent, linear in length.

    Numbers become an exact `p/q` or integer: `1,000`, `$18.00`, `\\frac34`, `1 1/2`, `6.7 \\times 10^{-5}`. Signs of
    currency, per cent (`50%` is 50, as GSM8K has it) and degrees are dropped, and so is a single variable before `=`.
    One letter from A to J is a choice, in upper case (not a bare `e` or `i`). JSON gets sorted keys and no spaces.
    Other formulas lose LaTeX spacing; other text, but not a single letter, loses case.
    """
    form = answer
    for _ in range(12):  # each round may uncover another wrapper
        simpler = _simplify(form)
        if simpler == form:
            return form
        form = simpler
    return _collapse(answer)  # wrapped too deep: left as it stands, so that the form still is a fixed point


def _collapse(text: str) -> str:
    return " ".join(text.split())


def _simplify(text: str) -> str:
    """One round of `canonical`."""
    collapsed = _collapse(text)
    for candidate in (text, collapsed):
        if _JSON_START.match(candidate) and (found := canonical_json(candidate)) is not None:
            return found
    if len(collapsed) > MAX_CHARS:
        return collapsed
    form = collapsed.translate(_SYMBOLS)
    for pattern, replacement in _LATEX:
        form = pattern.sub(replacement, form)
    form = _unwrap(_collapse(form).rstrip(" .,;:\\"))
    if (number := _number(form)) is not None:
        return number
    choice = _CHOICE.fullmatch(form)
    if choice and choice[0] not in ("e", "i"):
        return choice[1].upper()
    assignment = _ASSIGNMENT.match(form)
    if assignment and not any(sign in form[assignment.end() :] for sign in "=<>") and assignment.end() < len(form):
        form = form[assignment.end() :]
    form = _SPACE.sub("", _commas(form))
    return form if len(form) == 1 or "\\" in form or _sort(form) == "math" else form.casefold()


def _unwrap(form: str) -> str:
    """`form` without one layer of markdown emphasis, of quotes, or of `\\text{...}` and the like around all of it."""
    for mark in _PAIRS:
        if len(form) > 2 * len(mark) and form.startswith(mark) and form.endswith(mark):
            return form[len(mark) : -len(mark)]
    opening = _WRAPPER.match(form)
    if not opening or not form.endswith("}"):
        return form
    depth = 1
    for brace in _BRACE.finditer(form, opening.end()):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return form[opening.end() : -1] if brace.end() == len(form) else form
    return form


def _commas(form: str) -> str:
    """`a,b` and `a , b` as `a, b`; commas between thousands stay, because `3, 500` is not `3,500`."""
    first, *rest = form.split(",")
    parts = [first]
    for part in rest:
        thousands = parts[-1][-1:].isdecimal() and _THOUSANDS.match(part)
        parts += [",", part] if thousands else [", ", part.strip()]
    return "".join(parts)


def _number(form: str) -> str | None:
    """The exact value of a plain number, or None."""
    if len(form) > 400:  # longer than any answer, and int() is quadratic
        return None
    match = _NUMBER.fullmatch(_FRAC.sub(_slash, form).strip())
    if not match:
        return None
    sign, whole, top, bottom, *exponents = match.groups()
    exponent = int(next(filter(None, exponents), "0"))
    if abs(exponent) > 400 or (bottom and exponent) or ((sign or whole) and top[0] in "-+"):
        return None
    below = _fraction(bottom) if bottom else Fraction(1)
    if not below:
        return None
    value = _fraction(whole or "0") + _fraction(top) / below
    return str((-value if sign == "-" else value) * Fraction(10) ** exponent)


def _slash(match: re.Match[str]) -> str:
    whole, *parts = match.groups()
    top, bottom = filter(None, parts)
    return f"{whole} {top}/{bottom}" if whole else f"{top}/{bottom}"


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").rstrip("."))


def is_number(form: str) -> bool:
    """Whether a canonical form is a number."""
    return _CANONICAL_NUMBER.fullmatch(form) is not None


def _sort(form: str) -> Literal["number", "math", "other"]:
    """What a form is: `math` has a LaTeX command or an operator, and no words of prose outside `\\text{...}`."""
    if is_number(form):
        return "number"
    bare = _OPAQUE.sub(" ", form[: MAX_MATH_CHARS + 1])
    if len(form) > MAX_MATH_CHARS or _JSON_START.match(form) or any(c.isalpha() and not c.isascii() for c in bare):
        return "other"
    if any(not _FUNCTIONS.fullmatch(word) for word in _WORD.findall(bare)):
        return "other"
    return "math" if re.search(r"\\[A-Za-z]", form) or _OPERATOR.search(form) else "other"


def _worth_asking(a: str, b: str) -> bool:
    """Whether a checker can add anything: one of the forms is a formula, the other a formula or a number."""
    sorts = {_sort(a), _sort(b)}
    return "math" in sorts and "other" not in sorts


def equivalent(a: str, b: str, checker: Checker | None = None) -> bool:
    """Whether two answers to one question are the same; without a checker by canonical form alone."""
    a, b = sorted((canonical(a), canonical(b)))
    return a == b or (checker is not None and _worth_asking(a, b) and bool(checker.equal(a, b)))


class AnswerClasses:
    """The answers to one question, grouped by equivalence. Safe to use from several threads and tasks at once.

    A new form is compared once with the representative of each class, oldest first, and its class is remembered, so no
    pair is put to the checker twice. `undecided` counts the pairs it could not decide; they count as different.
    """

    def __init__(self, checker: Checker | None = None) -> None:
        self.undecided = 0
        self._checker = checker
        self._class_of: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def representatives(self) -> tuple[str, ...]:
        """One canonical form for each class, oldest class first."""
        return tuple(dict.fromkeys(tuple(self._class_of.values())))

    def add(self, answer: str) -> str:
        """The canonical form of the first member of the class that `answer` belongs to, its own for a new class."""
        form = canonical(answer)
        with self._lock:
            if form not in self._class_of:
                same = (known for known in self.representatives if self._equal(known, form))
                self._class_of[form] = next(same, form)
            return self._class_of[form]

    async def add_async(self, answer: str) -> str:
        """`add` for servers: a thread waits for the checker, and for its turn, while the event loop goes on."""
        known = self._class_of.get(canonical(answer))
        return known if known is not None else await asyncio.to_thread(self.add, answer)

    def _equal(self, known: str, form: str) -> bool:
        if self._checker is None or not _worth_asking(known, form):
            return False
        verdict = self._checker.equal(min(known, form), max(known, form))
        self.undecided += verdict is None
        return bool(verdict)
