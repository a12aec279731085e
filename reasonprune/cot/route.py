"""The direct route to an answer, as indices of steps: what ASAP's anchor is for, without asking a model for one.

The paper lets a large model write a direct solution from question and answer, and keeps what serves it. Where there is
only the visible answer, the chain itself says what serves it: the steps that resemble the answer, and, followed back
from the answer's numbers, the equations that produced them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from reasonprune.answers import canonical
from reasonprune.cot.steps import Step, split_steps

SIMILAR = 0.6
"""The published bar of Ratcliff-Obershelp similarity above which a section counts as taken from the chain."""

COMPARED = 4000  # characters; what is longer takes seconds

_NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w])|(?<![\w.])\.\d+")
_RESULT = re.compile(r"(?:=|\\approx|\\Rightarrow|≈)[\s\\($€£{]*(?:boxed\{|text\{)?[\s\\$€£{]*(-?[\d.,]*\d)")
_DEFINITION = re.compile(
    r"\b(?:let|denote|define|suppose|assume|call)\b[^.\n]{0,80}?(?<![A-Za-z])\\?[($`]*\s*([A-Za-z](?:_\{?\w{1,3}\}?)?)(?![A-Za-z])",
    re.IGNORECASE,
)


def similarity(a: str, b: str) -> float:
    """Ratcliff-Obershelp ratio of two texts, of long ones by their beginnings; 0 where it is below `SIMILAR`."""
    return _ratio(_matcher(b), a)


def _matcher(text: str) -> SequenceMatcher[str]:
    return SequenceMatcher(None, "", text.strip()[:COMPARED], autojunk=False)


def _ratio(matcher: SequenceMatcher[str], text: str) -> float:
    matcher.set_seq1(text.strip()[:COMPARED])
    if matcher.real_quick_ratio() < SIMILAR or matcher.quick_ratio() < SIMILAR:  # cheap upper bounds
        return 0.0
    ratio = matcher.ratio()
    return ratio if ratio >= SIMILAR else 0.0


def numbers(text: str) -> list[str]:
    """The unsigned numbers in `text` in canonical form, in order."""
    return [canonical(match[0]) for match in _NUMBER.finditer(text)]


def results(text: str) -> set[str]:
    """The numbers that stand right of an equals sign."""
    found = (match[1].lstrip("-").rstrip(".,") for match in _RESULT.finditer(text))
    return {canonical(number) for number in found if number}


def route_to(chain: str, steps: Sequence[Step], anchor: str, question: str = "") -> frozenset[int]:
    """Indices of the steps of `chain` that lead to `anchor`, the visible answer; numbers in `question` are given."""
    texts = [chain[step.start : step.end] for step in steps]
    sections = [_matcher(anchor[section.start : section.end]) for section in split_steps(anchor)]
    alike = {index for index, text in enumerate(texts) if any(_ratio(section, text) for section in sections)}
    return frozenset(alike | _producers(texts, set(numbers(anchor)), set(numbers(question))))


def _producers(texts: Sequence[str], wanted: set[str], given: set[str]) -> set[int]:
    """Followed backwards: for each wanted number the first equation that gives it, whose operands are wanted next.

    The first, because what follows repeats or checks it; a number that was corrected later is not wanted at all.
    """
    worked_out = [results(text) for text in texts]
    # Without operands an equation only repeats what another one worked out.
    operands = [set(numbers(text)) - found for text, found in zip(texts, worked_out, strict=True)]
    said = [set(numbers(text)) for text in texts]
    route, seen = set[int](), set(given)
    todo = [(number, len(texts)) for number in sorted(wanted)]
    while todo:
        number, before = todo.pop()
        if number in seen:
            continue
        seen.add(number)
        step = next((i for i in range(before) if number in worked_out[i] and operands[i]), None)
        if step is not None:
            todo += [(operand, step) for operand in sorted(operands[step])]
        else:
            step = next((i for i in range(before) if number in said[i]), None)
        if step is not None:
            route.add(step)
    return route


def definitions(chain: str, steps: Sequence[Step]) -> frozenset[int]:
    """Steps that name a quantity (`Let x be ...`) which a later step uses: without them the rest cannot be read."""
    found = set()
    for index, step in enumerate(steps):
        for match in _DEFINITION.finditer(chain, step.start, step.end):
            symbol = re.compile(rf"(?<![A-Za-z\\]){re.escape(match[1])}(?![A-Za-z])")
            if match[1] not in ("a", "A", "I") and symbol.search(chain, step.end):
                found.add(index)
    return frozenset(found)
