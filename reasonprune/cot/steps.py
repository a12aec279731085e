"""A chain of thought as steps: spans that add up to the text again, so that leaving some out retypes nothing.

Steps are paragraphs and list items; a formula on lines of its own ends one. Code fences and formulas are never torn. A
chain without blank lines and list items falls back to its lines, and a single line to its sentences.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"[ \t]*(?P<mark>`{3,}|~{3,})(?P<info>[^\n]*)")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)]|\(?[a-z]\)|\(\d{1,3}\))[ \t]+(?=\S)")
_DISPLAYS = ((r"\[", r"\]"), ("$$", "$$"))
_BEGIN = re.compile(r"\\begin\{([A-Za-z]+\*?)\}")
_SENTENCE = re.compile(r"(?<=[.!?])[ \t]+(?=[A-Z0-9\"'(\\$])")
_MARKERS = re.compile(rf"\s*(?:{_ITEM.pattern})?[ \t]*[*_#>]*[ \t]*")


@dataclass(frozen=True)
class Step:
    """`text[start:end]` of a chain, the white space after it included; `content` is where its first word begins."""

    start: int
    end: int
    content: int


def split_steps(text: str) -> list[Step]:
    """The steps of `text`, in order, without gaps; one step for a text that cannot be divided, none for an empty one.

    A fence that is never closed reaches to the end, as in Markdown; a formula that is never closed is plain text.
    """
    if not text:
        return []
    fences = list(_fences(text))
    formulas = list(_formulas(text, fences))
    atoms = sorted([*fences, *formulas])
    edges = {edge for fence in fences for edge in fence} | {end for _, end in _standing_alone(text, formulas)}
    starts = _free(text, atoms, _paragraphs_and_items(text), edges)
    if len(starts) == 1 and not fences:
        starts = _free(text, atoms, (line for line, _ in _lines(text)), set())
    if len(starts) == 1 and not atoms:
        starts = [0, *(match.end() for match in _SENTENCE.finditer(text))]
    ends = [*starts[1:], len(text)]
    return [Step(start, end, _content(text, start, end)) for start, end in zip(starts, ends, strict=True)]


def _free(text: str, atoms: list[tuple[int, int]], candidates: Iterator[int], edges: set[int]) -> list[int]:
    """Where steps begin: candidates outside the atoms; what is only white space stays with the step before it."""
    openings = [start for start, _ in atoms]

    def inside(at: int) -> bool:
        index = bisect_right(openings, at) - 1
        return index >= 0 and atoms[index][0] < at < atoms[index][1]

    found = sorted({0, *edges, *(at for at in candidates if not inside(at))} - {len(text)})
    starts = [0]
    for at, end in zip(found, [*found[1:], len(text)], strict=True):
        if text[at:end].strip() and text[starts[-1] : at].strip():
            starts.append(at)
    return starts


def _lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for line in text.splitlines(keepends=True):
        yield start, line
        start += len(line)


def _paragraphs_and_items(text: str) -> Iterator[int]:
    after_blank = False
    for start, line in _lines(text):
        blank = not line.strip()
        if not blank and (after_blank or _ITEM.match(line)):
            yield start
        after_blank = blank


def _fences(text: str) -> Iterator[tuple[int, int]]:
    opened: tuple[int, str] | None = None
    for start, line in _lines(text):
        match = _FENCE.match(line)
        if match is None:
            continue
        mark, info = match["mark"], match["info"].strip()
        if opened is None:
            if "`" not in info:  # else it is code within a line
                opened = (start, mark)
        elif mark.startswith(opened[1]) and not info:
            yield opened[0], start + len(line)
            opened = None
    if opened is not None:
        yield opened[0], len(text)


def _formulas(text: str, fences: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Display formulas outside of code."""
    gaps = zip([0, *(end for _, end in fences)], [*(start for start, _ in fences), len(text)], strict=True)
    for low, high in gaps:
        spans = sorted([*_delimited(text, low, high), *_environments(text, low, high)])
        reached = low
        for start, end in spans:
            if start >= reached:
                yield start, end
                reached = end


def _standing_alone(text: str, formulas: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Formulas on lines of their own, line end included: what follows them begins anew, blank line or not."""
    for start, end in formulas:
        line_end = text.find("\n", end)
        line_start = text.rfind("\n", 0, start) + 1
        if line_end >= 0 and not text[end:line_end].strip(" \t.,") and not text[line_start:start].strip():
            yield start, line_end + 1


def _delimited(text: str, low: int, high: int) -> Iterator[tuple[int, int]]:
    for opening, closing in _DISPLAYS:
        at = low
        while (start := text.find(opening, at, high)) >= 0:
            end = text.find(closing, start + len(opening), high)
            if end < 0:
                break
            at = end + len(closing)
            yield start, at


def _environments(text: str, low: int, high: int) -> Iterator[tuple[int, int]]:
    at = low
    while match := _BEGIN.search(text, at, high):
        end = text.find(f"\\end{{{match[1]}}}", match.end(), high)
        at = match.end() if end < 0 else end + len(match[1]) + 6
        if end >= 0:
            yield match.start(), at


def _content(text: str, start: int, end: int) -> int:
    """After list marks and emphasis: `3.` before a step says nothing about how surprising the step is."""
    marks = _MARKERS.match(text, start, end)
    assert marks is not None, "every part may be empty"
    return marks.end() if text[marks.end() : end].strip() else start
