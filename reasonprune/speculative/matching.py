"""The structure over one request's prompt and output: where its last tokens occurred before, and what followed.

It keeps no state: the row of tokens that the engine holds anyway is searched anew at every step, some microseconds per
thousand tokens. Rows may move, prefills may be split and requests may end without anything going stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonprune.speculative import fusion
from reasonprune.speculative.fusion import Continuation
from reasonprune.speculative.tree import Source

Tokens = NDArray[np.integer]
Places = NDArray[np.intp]

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


@dataclass(frozen=True)
class Matches:
    """Places of a text where the end of a context occurs: all the longest ones, and shorter ones as they come along.

    `text[end - length:end]` equals the last `length` tokens of the context, and `text[end]`, which is a token and no
    separator, follows; `ends` ascend. Where the text is the context itself, it grows with it, so that a repetition
    runs on into what it repeats. `tail` and `path`: the last tokens of the context, and those behind it since.
    """

    text: Tokens
    tail: Tokens
    path: tuple[int, ...]
    ends: Places
    lengths: Places
    source: Source

    @classmethod
    def of(cls, text: Tokens, context: Tokens, source: Source) -> Matches:
        tail = context[-LONGEST:]
        ends, lengths = np.empty(0, np.intp), np.empty(0, np.intp)
        for matched, found in occurrences(text, tail):
            if matched == 1:
                ends, lengths = found, np.ones_like(found)
            else:
                lengths[np.searchsorted(ends, found)] = matched
        return cls(text, tail, (), *_followed(text, ends, lengths), source)

    def after(self, token: int) -> Matches:
        """Those of the context with `token` behind it; the text is searched only where no match goes on so."""
        own = self.source is Source.REQUEST
        text = np.append(self.text, self.text.dtype.type(token)) if own else self.text
        path = (*self.path, token)
        going_on = np.flatnonzero(self.text[self.ends] == token)
        ends, lengths = _followed(text, self.ends[going_on] + 1, np.minimum(self.lengths[going_on] + 1, LONGEST))
        if len(ends):
            return Matches(text, self.tail, path, ends, lengths, self.source)
        return Matches.of(text, np.concatenate([self.tail, np.asarray(path, self.tail.dtype)]), self.source)

    def longest(self, most: int) -> tuple[int, list[int]]:
        """(tokens matched, what followed), of the longest matches, the latest `most` of them first."""
        if not len(self.ends):
            return 0, []
        matched = int(self.lengths.max())
        ends = self.ends[self.lengths == matched][::-1][:most]
        return matched, self.text[ends].tolist()


def _followed(text: Tokens, ends: Places, lengths: Places) -> tuple[Places, Places]:
    """Without the places where the text, or one of its parts, is at its end."""
    kept = ends < len(text)
    kept[kept] = text[ends[kept]] >= 0
    return ends[kept], lengths[kept]
