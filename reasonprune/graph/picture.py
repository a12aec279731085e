"""Kept and pruned paths of a question as a picture: SVG, alone or in an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path as File

from reasonprune.errors import RequestError
from reasonprune.graph.explore import Path
from reasonprune.graph.pipeline import Result
from reasonprune.graph.store import GraphStore, readable

BOX, ROW, GAP, TOP = 190, 44, 130, 60  # pixels: width of a box, height of a row, width of an arrow, the title's height
MOST_LETTERS = 26
KEPT, PRUNED = "#1a7f4b", "#b0b0b0"


def write_picture(out: File, store: GraphStore, result: Result) -> None:
    """Raises RequestError where `out` ends in neither .svg nor .html."""
    if out.suffix not in (".svg", ".html"):
        raise RequestError(f"{out.name} ends in neither .svg nor .html.", "picture")
    svg = draw(store, result)
    if out.suffix == ".html":
        title = escape(result.question)
        svg = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><body>{svg}</body></html>\n'
    out.write_text(svg, encoding="utf-8")


def draw(store: GraphStore, result: Result) -> str:
    """One row a path, kept ones first and green; pruned ones grey, their last step unwalked."""
    rows = [(path, KEPT) for path in result.kept] + [(path, PRUNED) for path in result.pruned]
    longest = max((len(path.steps) for path, _ in rows), default=0)
    width = 20 + BOX + longest * (BOX + GAP)
    height = TOP + ROW * max(1, len(rows)) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        ' font-size="12">',
        f'<text x="10" y="20" font-size="15">{escape(result.question)}</text>',
        f'<text x="10" y="42" fill="#555">{escape(_summary(result))}</text>',
    ]
    for number, (path, colour) in enumerate(rows):
        parts += _row(store, path, colour, TOP + ROW * number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _summary(result: Result) -> str:
    account = result.account
    best = ", ".join(answer.name for answer in result.answers[:3]) or "none"
    counts = f"{account['paths_considered']} paths considered, {account['paths_kept']} kept"
    return f"{counts}. Answers: {best[:80]}. {result.reason[:1].upper()}{result.reason[1:]}."


def _row(store: GraphStore, path: Path, colour: str, y: int) -> list[str]:
    parts, x = [], 10
    for at in range(len(path.steps) + 1):
        names = [store.name(entity) for entity in path.levels[at].entities[:4]] if at < len(path.levels) else None
        more = len(path.levels[at].entities) - 4 if names else 0
        parts += _box(names, more, colour, x, y)
        if at < len(path.steps):
            parts += _arrow(path, at, colour, x + BOX, y)
        x += BOX + GAP
    parts.append(f'<text x="{x - GAP + 6}" y="{y + 20}" fill="{colour}">{path.score:.2f}</text>')
    return parts


def _box(names: Sequence[str] | None, more: int, colour: str, x: int, y: int) -> list[str]:
    label = "…" if names is None else ", ".join(names) + (f" and {more} more" if more > 0 else "")
    short = label if len(label) <= MOST_LETTERS else label[: MOST_LETTERS - 1] + "…"
    return [
        f'<g><title>{escape(label)}</title><rect x="{x}" y="{y}" width="{BOX}" height="30" rx="6" fill="white"'
        f' stroke="{colour}"/><text x="{x + 8}" y="{y + 20}">{escape(short)}</text></g>'
    ]


def _arrow(path: Path, at: int, colour: str, x: int, y: int) -> list[str]:
    step = path.steps[at]
    left, right = x + 4, x + GAP - 4
    tip, back = (left, 6) if step.inverse else (right, -6)
    return [
        f'<path d="M{left} {y + 17}H{right}M{tip} {y + 17}l{back} -4M{tip} {y + 17}l{back} 4" stroke="{colour}"/>',
        f'<text x="{(left + right) // 2}" y="{y + 11}" text-anchor="middle" font-size="10">'
        f"{escape(readable(step.relation)[:22])}</text>",
    ]
