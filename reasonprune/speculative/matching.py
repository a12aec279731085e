"""The structure over one request's prompt and output: where its last tokens occurred before, and what followed.

It keeps no state: the row of tokens that the engine holds anyway is searched anew at every step, some microseconds per
thousand tokens. Rows may move, prefills may be split and requests may end without anything going stale.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from reasonprune.speculative import fusion
from reasonprune.speculative.fusion import Continuation
from reasonprune.speculative.tree import Source

Tokens = NDArray[np.integer]

LONGEST = 24  # tokens of context that are compared; longer matches say no more


def occurrences(text: Tokens, context: Tokens, longest: int = LONGEST) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """(matched, ends) from the shortest match to the longest; `text[end - matched:end]` equals the context's end.

    `ends` are ascending, and every `end` is below `len(text)`, so that something follows. Each level's ends hold those
    of the next.
    """
    if not len(context) or len(text) < 2:
        return
    ends = np.flatnonzero(text[:-1] == context[-1]) + 1
    matched = 1
    while len(ends):
        yield matched, ends
        matched += 1
        if matched > min(longest, len(context)):
            return
        ends = ends[ends >= matched]
        ends = ends[text[ends - matched] == context[len(context) - matched]]


def continuations(
    text: Tokens,
    context: Tokens,
    length: int,
    most: int,
    source: Source,
    least: int = 1,
    separator: int | None = None,
) -> list[Continuation]:
    """What followed the `most` best occurrences of the context's end, each up to `length` tokens.

    Longer matches go before shorter ones, among equals the latest first; a match one token shorter weighs half.
    Where `text` is the context itself, a continuation that reaches its end goes on with its own first tokens, as a
    repetition would. It ends before a `separator`.
    """
    levels = [(matched, ends) for matched, ends in occurrences(text, context) if matched >= least]
    found: list[Continuation] = []
    taken: set[int] = set()
    for matched, ends in reversed(levels):
        weight = fusion.DECAY ** (levels[-1][0] - matched)
        for end in ends[::-1][: most + len(taken)].tolist():
            if end in taken or len(found) >= most:
                continue
            taken.add(end)
            tokens = text[end : end + length].tolist()
            if separator is not None and separator in tokens:
                tokens = tokens[: tokens.index(separator)]
            elif text is context and len(tokens) < length:
                tokens = (tokens * (length // len(tokens) + 1))[:length]
            if tokens:
                found.append(Continuation(tokens, matched, source, weight))
        if len(found) >= most:
            break
    return found
