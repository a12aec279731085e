"""Text into units that are kept or removed whole: sentences, table rows, code blocks. They tile the text exactly.

Sentences are found by `sentencex` (about 300 languages). What is no prose is found first: a fenced code block is one
unit, a table row is one unit that brings its table's header along, a list item or heading begins a unit of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["prose", "table", "code"]
Splitter = Callable[[str], Sequence[str]]
"""Splits a text into sentences. They must follow each other in the text; what lies between joins the one before."""

FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
TABLE_ROW = re.compile(r"^\s*\|.*\|\s*$")
TABLE_RULE = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$")
ITEM = re.compile(r"^\s*([-*+•]|\d{1,3}[.)]|#{1,6})\s+\S")
SCRIPTS = (
    (re.compile("[\u3040-\u30ff]"), "ja"),
    (re.compile("[\u4e00-\u9fff]"), "zh"),
    (re.compile("[\u0590-\u05ff]"), "he"),
    (re.compile("[\u0600-\u06ff]"), "ar"),
    (re.compile("[\u0900-\u097f]"), "hi"),
    (re.compile("[\u0400-\u04ff]"), "ru"),
    (re.compile("[\u0370-\u03ff]"), "el"),
    (re.compile("[\u0530-\u058f]"), "hy"),
    (re.compile("[\u1000-\u109f]"), "my"),
)


@dataclass(frozen=True)
class Unit:
    """`text[start:end]`, trailing white space included; offsets in characters.

    `heads`: indices of the units that it brings along when it is kept (the header of its table).
    """

    start: int
    end: int
    kind: Kind = "prose"
    heads: tuple[int, ...] = ()


def language_of(text: str) -> str:
    """A guess by script, which is what sentence ends depend on most; `en` for all that is written in Latin letters."""
    sample = text[:2000]
    letters = sum(map(str.isalpha, sample)) or 1
    for script, language in SCRIPTS:
        if len(script.findall(sample)) > 0.2 * letters:
            return language
    return "en"


def split(text: str, splitter: Splitter | None = None, language: str | None = None) -> list[Unit]:
    """The units of `text`, in order, without gaps; none for an empty text.

    `splitter` replaces the splitting of prose into sentences, `language` (ISO 639-1) is guessed where it is None.
    """
    prose = splitter or default_splitter(language)
    found: list[Unit] = []
    for kind, start, end in _regions(text):
        if kind == "prose":
            found += [Unit(a, b) for a, b in _sentences(text, start, end, prose)]
        elif kind == "code":
            found.append(Unit(start, end, "code"))
        else:
            found += _rows(text, start, end, len(found))
    return _tiled(text, found)


def from_sentences(sentences: Sequence[str]) -> tuple[str, list[Unit]]:
    """Sentences split by the caller, as one text and its units."""
    text, found = "", []
    for sentence in sentences:
        found.append(Unit(len(text), len(text) + len(sentence)))
        text += sentence
    return text, found


def default_splitter(language: str | None = None) -> Splitter:
    """`sentencex` for a language, or for the one that each text seems to be in."""
    from sentencex import segment

    return lambda text: segment(language or language_of(text), text)


def _regions(text: str) -> Iterator[tuple[Kind, int, int]]:
    """Stretches of lines of one kind. An unclosed fence is prose: it may be a citation of three backticks."""
    lines = [(match.start(), match.end()) for match in re.finditer(r"[^\n]*\n|[^\n]+", text)]
    begin, i = 0, 0
    while i < len(lines):
        start = lines[i][0]
        kind, last = _structure(text, lines, i)
        if kind == "prose":
            i += 1
            continue
        if begin < start:
            yield "prose", begin, start
        begin = lines[last][1]
        yield kind, start, begin
        i = last + 1
    if begin < len(text):
        yield "prose", begin, len(text)


def _structure(text: str, lines: list[tuple[int, int]], i: int) -> tuple[Kind, int]:
    """What begins at line `i`, and the last line of it."""

    def line(k: int) -> str:
        return text[lines[k][0] : lines[k][1]].rstrip("\n")

    if opening := FENCE.match(line(i)):
        for k in range(i + 1, len(lines)):
            closing = FENCE.match(line(k))
            if closing and closing[1].startswith(opening[1]) and not line(k).strip().strip(opening[1][0]):
                return "code", k
    if TABLE_ROW.match(line(i)) and i + 1 < len(lines) and TABLE_RULE.match(line(i + 1)):
        last = i + 1
        while last + 1 < len(lines) and "|" in line(last + 1) and line(last + 1).strip():
            last += 1
        return "table", last
    return "prose", i


def _rows(text: str, start: int, end: int, first: int) -> Iterator[Unit]:
    """Rows of a table; the first two, names and rule, are the head of every other."""
    for k, match in enumerate(re.finditer(r"[^\n]*\n|[^\n]+", text[start:end])):
        heads = () if k == 0 else (first,) if k == 1 else (first, first + 1)
        yield Unit(start + match.start(), start + match.end(), "table", heads)


def _sentences(text: str, start: int, end: int, splitter: Splitter) -> Iterator[tuple[int, int]]:
    for begin, stop in _paragraphs(text, start, end):
        paragraph = text[begin:stop]
        at = 0
        for piece in splitter(paragraph):
            found = paragraph.find(piece.strip(), at)
            if not piece.strip() or found < 0:
                continue
            yield begin + found, begin + found + len(piece.strip())
            at = found + len(piece.strip())


def _paragraphs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Ends at blank lines, and before every list item and heading; a heading ends with its line."""
    begin, blank, heading = start, False, False
    for match in re.finditer(r"[^\n]*\n|[^\n]+", text[start:end]):
        line, at = match[0], start + match.start()
        if at > begin and (blank or heading or ITEM.match(line)):
            yield begin, at
            begin = at
        blank, heading = not line.strip(), line.lstrip().startswith("#")
    if begin < end:
        yield begin, end


def _tiled(text: str, found: list[Unit]) -> list[Unit]:
    """What lies between two units, white space mostly, joins the first of them; a text of only white space is one."""
    if not found:
        return [Unit(0, len(text))] if text else []
    starts = [0, *(unit.start for unit in found[1:])]
    ends = [*starts[1:], len(text)]
    return [Unit(a, b, unit.kind, unit.heads) for a, b, unit in zip(starts, ends, found, strict=True)]
