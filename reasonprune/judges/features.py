"""What two reasoning texts have in common, as numbers: the part of the evidence that sentence embeddings lose.

An encoder hardly tells 762 from 764, yet that is where two traces part. So the texts are read for the numbers in them,
the equations they state, and the slips among these. Every feature is symmetric in the pair.

Lengths are left out on purpose: training cuts traces at shares of their own length, where the length of what is left
tells the final length, which a policy does not know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from reasonprune.answers import canonical, extract_answer
from reasonprune.judges.snapshot import Snapshot

MOST = 20_000  # characters that are read, counted from the end
TAIL = 500  # characters of the end whose n-grams are compared
GRAM = 5
RECENT = 8  # numbers at the end that are compared as such

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_NUMBERS = re.compile(_NUMBER)
_LIST_MARK = re.compile(r"^\W*(?:step\s+)?\d+[.):](?=\s|\*)", re.IGNORECASE | re.MULTILINE)
_UNFINISHED = re.compile(r"[\d.,]+\Z")
_NOTATION = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\times(?![a-z])|\\cdot(?![a-z])|×|·"), "*"),
    (re.compile(r"\\div(?![a-z])|÷"), "/"),
    (re.compile(r"−"), "-"),
    # Delimiters, currency, \text{...} and whole words, which are units where they stand between numbers.
    (re.compile(r"\\[a-z]+\s*\{[^{}\d]*\}|\\[,;!()\[\] ]|[$€£%]|(?<![\w\\])[a-z/-]{3,}(?!\w)", re.IGNORECASE), " "),
)
_ENDS_HERE = r"(?![\w.]*\w|\s*[-+*/]\s*\d)"  # neither a longer number, nor 2x, nor an operation that goes on
_RESULT = re.compile(rf"=\s*(-?{_NUMBER}){_ENDS_HERE}")
_EQUATION = re.compile(
    rf"(?<![\w.*/+=(-])({_NUMBER}(?:\s*[-+*/]\s*{_NUMBER})+)(?![\w.]*\w)\s*=\s*(-?{_NUMBER}){_ENDS_HERE}"
)
_DOUBT = re.compile(r"\b(?:wait|but|however|actually|check|verify|hmm|mistake|instead)\b", re.IGNORECASE)

FEATURES = (
    "numbers_jaccard",
    "fresh_jaccard",
    "fresh_overlap",
    "recent_jaccard",
    "results_jaccard",
    "results_overlap",
    "results_prefix",
    "last_number_equal",
    "last_result_equal",
    "last_result_known_min",
    "last_result_known_max",
    "equations_agreed",
    "equations_contrary",
    "equations_contrary_share",
    "slips_min",
    "slips_max",
    "slips_shared",
    "slips_apart",
    "box_count",
    "box_equal",
    "box_unequal",
    "box_known_min",
    "box_known_max",
    "conclusion_equal",
    "tail_jaccard",
    "words_jaccard",
    "progress_min",
    "progress_max",
    "doubts_min",
    "doubts_max",
    "digits_min",
    "digits_max",
    "ended",
)
"""The names of the values of `pair_features`, in order; a trained head goes by them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one text says. Numbers are in plain decimal form.

    `fresh`: the last numbers that the question does not hold; `results`: right-hand sides, in order.
    `equations`: a left side to the right side last given for it; `slips`: those that are arithmetically wrong.
    `conclusion`: what the text would answer as it stands, its box, else its last result, else its last fresh number.
    `progress`: the share of the question's numbers that the text has used; `digits`: their share of its characters,
    which tells a chain of sums from prose.
    """

    ended: bool
    numbers: frozenset[str]
    last: str | None
    fresh: frozenset[str]
    recent: frozenset[str]
    results: tuple[str, ...]
    result_set: frozenset[str]
    equations: dict[str, str]
    slips: frozenset[str]
    box: str | None
    conclusion: str | None
    tail: frozenset[str]
    words: frozenset[str]
    progress: float
    doubts: int
    digits: float


def read(snapshot: Snapshot) -> Reading:
    """Takes about a millisecond for a thousand characters; features of pairs are then set operations."""
    text = snapshot.text[-MOST:]
    # A number at the very end of an unfinished text may lack digits.
    plain = _plain(text if snapshot.ended else _UNFINISHED.sub("", text))
    asked = frozenset(_numbers(snapshot.question))
    numbers = _numbers(plain)
    fresh = [number for number in numbers if number not in asked]
    results = tuple(_decimal(match[1]) for match in _RESULT.finditer(plain))
    equations = {re.sub(r"[\s,]", "", match[1]): _decimal(match[2]) for match in _EQUATION.finditer(plain)}
    boxed = extract_answer(text, "boxed")
    box = _decimal(canonical(boxed)) if boxed else None
    tail = text[-TAIL:]
    return Reading(
        ended=snapshot.ended,
        numbers=frozenset(numbers),
        last=numbers[-1] if numbers else None,
        fresh=frozenset(fresh),
        recent=frozenset(fresh[-RECENT:]),
        results=results,
        result_set=frozenset(results),
        equations=equations,
        slips=frozenset(f"{left}={right}" for left, right in equations.items() if _wrong(left, right)),
        box=box,
        conclusion=box or next(iter((*results[-1:], *fresh[-1:])), None),
        tail=frozenset(tail[i : i + GRAM] for i in range(len(tail) - GRAM + 1)),
        words=frozenset(re.findall(r"[a-z]+", text.lower())),
        progress=len(asked & frozenset(numbers)) / len(asked) if asked else 0.0,
        doubts=len(_DOUBT.findall(text)),
        digits=sum(map(str.isdigit, text)) / max(1, len(text)),
    )


def _plain(text: str) -> str:
    """Without list marks, LaTeX notation, currency and units, so that all operations stand as in `12*2 = 24`."""
    text = _LIST_MARK.sub(" ", text)
    for pattern, plain in _NOTATION:
        text = pattern.sub(plain, text)
    return text


def _numbers(text: str) -> list[str]:
    return [_decimal(match) for match in _NUMBERS.findall(text)]


def _decimal(number: str) -> str:
    """`1,200.50` as `1200.5`; what is not a number stays as it is."""
    plain = number.replace(",", "")
    if not re.fullmatch(r"-?\d+(?:\.\d+)?", plain):
        return number
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _wrong(left: str, right: str) -> bool:
    """Whether `right` is neither `left`, numbers with + - * /, nor that rounded or cut off to its decimals."""
    try:
        value = sum((_product(term) for term in re.findall(r"[-+]?[^-+]+", left)), Fraction(0))
    except ZeroDivisionError:
        return True
    unit = Fraction(1, 10 ** len(right.partition(".")[2]))
    return not -unit / 2 <= value - Fraction(right) < unit


def _product(term: str) -> Fraction:
    first, *rest = re.findall(r"[*/]?[^*/]+", term)
    value = Fraction(first)
    for factor in rest:
        value = value * Fraction(factor[1:]) if factor[0] == "*" else value / Fraction(factor[1:])
    return value


def pair_features(a: Reading, b: Reading) -> list[float]:
    """The values of `FEATURES`: shares of 0 to 1, counts, and logarithms of counts; the same for (b, a)."""
    both = a.equations.keys() & b.equations.keys()
    contrary = sum(a.equations[left] != b.equations[left] for left in both)
    slips, shared_slips = (len(a.slips), len(b.slips)), len(a.slips & b.slips)
    boxed = (a.box is not None) + (b.box is not None)
    return [
        _jaccard(a.numbers, b.numbers),
        _jaccard(a.fresh, b.fresh),
        _overlap(a.fresh, b.fresh),
        _jaccard(a.recent, b.recent),
        _jaccard(a.result_set, b.result_set),
        _overlap(a.result_set, b.result_set),
        _common_prefix(a.results, b.results) / max(1, min(len(a.results), len(b.results))),
        float(a.last is not None and a.last == b.last),
        float(bool(a.results) and a.results[-1:] == b.results[-1:]),
        *sorted(float(bool(x.results) and x.results[-1] in y.numbers) for x, y in ((a, b), (b, a))),
        math.log1p(len(both) - contrary),
        math.log1p(contrary),
        contrary / max(1, len(both)),
        *_logs(slips),
        math.log1p(shared_slips),
        math.log1p(sum(slips) - 2 * shared_slips),
        float(boxed),
        float(boxed == 2 and a.box == b.box),
        float(boxed == 2 and a.box != b.box),
        *sorted(float(x.box is not None and x.box in y.numbers) for x, y in ((a, b), (b, a))),
        float(a.conclusion is not None and a.conclusion == b.conclusion),
        _jaccard(a.tail, b.tail),
        _jaccard(a.words, b.words),
        *sorted((a.progress, b.progress)),
        *_logs((a.doubts, b.doubts)),
        *sorted((a.digits, b.digits)),
        float(a.ended + b.ended),
    ]


@dataclass
class Batch:
    """Pairs as a trained head takes them: features [n, len(FEATURES)], and unit embeddings [n, d] of both texts."""

    features: NDArray[np.float32]
    first: NDArray[np.float32] | None = None
    second: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: NDArray[np.int64]) -> Batch:
        """The pairs in these rows."""
        first, second = (None if side is None else side[rows] for side in (self.first, self.second))
        return Batch(self.features[rows], first, second)

    def sides(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Both embeddings; ValueError where the batch holds none."""
        if self.first is None or self.second is None:
            raise ValueError("these pairs have not been embedded")
        return self.first, self.second


def _logs(counts: Iterable[int]) -> list[float]:
    return [math.log1p(count) for count in sorted(counts)]


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a or b else 0.0


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """The shared part of the smaller set: 1 where one text only says more than the other."""
    return len(a & b) / min(len(a), len(b)) if a and b else 0.0


def _common_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    shorter = min(len(a), len(b))
    return next((i for i in range(shorter) if a[i] != b[i]), shorter)
