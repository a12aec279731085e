"""What a question says about the path from its topic to its answer: words in walking order, kind of answer, cues.

English grammar gives the order without a parser: what is said right behind the topic ("X 's son", "X actors") comes
first, then what stands before it, read backwards ("the job of the wife of X"), then what the sentence says of all that
("... of X starred who"). Questions in other languages keep their words, in the same order, and lose the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reasonprune.graph.thesaurus import Thesaurus

TOKEN = re.compile(r"['’]s\b|[^\W_]+(?:[-_.'’](?!s\b)[^\W_]+)*|,", re.UNICODE)
VERBS = ("is", "are", "was", "were", "be", "been", "being", "do", "does", "did", "has", "have", "had")
AUXILIARY = frozenset((*VERBS, "can", "could", "will", "would"))
WH = frozenset(("who", "whom", "whose", "which", "what", "when", "where", "why", "how"))
SHARING = frozenset(("also", "same", "share", "shares", "shared", "sharing", "together", "both", "common"))
FUNCTION = AUXILIARY | SHARING
FUNCTION |= frozenset(("a", "an", "the", "of", "in", "on", "at", "by", "to", "for", "from", "with", "and", "or", "as"))
FUNCTION |= frozenset(("that", "this", "these", "those", "it", "its", "i", "me", "you", "he", "she", "we", "they"))
FUNCTION |= frozenset(("them", "their", "his", "her", "than", "then", "there", "any", "some", "all", "such", "own"))
FUNCTION |= frozenset(("name", "names", "named", "called", "list", "listed", "tell", "give", "show", "find", "please"))
FUNCTION |= frozenset(("so", ",", "'s", "’s"))
POSSESSIVE = ("'s", "’s", "'", "’")
COMPANY = re.compile(r"co-?(star|writ|wrote|direct|act|author)")  # "co-starred": in the same film
LONGEST_SPAN = 4  # words of a phrase that may name a relation


@dataclass(frozen=True)
class Span:
    """A phrase of the question; `start` and `end` count in walking order."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Question:
    """`words` in walking order, and the phrases of them that may name a relation.

    `kind` is the kind of thing asked for; `shares` whether something in common is asked for ("the same actor", "also
    directed", "co-star"), which walks a relation there and back.
    """

    text: str
    words: tuple[str, ...]
    content: tuple[bool, ...]
    spans: tuple[Span, ...]
    kind: str | None
    shares: bool


def analyse(text: str, topics: Sequence[tuple[int, int]], thesaurus: Thesaurus) -> Question:
    """`topics`: character ranges of the entities named in `text`; the first is the one that is walked from."""
    pieces = thesaurus.plain(_segments(text, topics))
    before, behind = pieces[0], [token for piece in pieces[1:] for token in piece]
    attached, predicate = _divide(behind, any(token in WH for token in before))
    # The part before the topic is read backwards, its phrases forwards.
    segments = [(attached, False), (before, True), (predicate, False)]
    words: list[str] = []
    spans: list[Span] = []
    for tokens, reverse in segments:
        spans += _spans(tokens, len(words), reverse)
        words += reversed(tokens) if reverse else tokens
    everything = [token for piece in pieces for token in piece]
    return Question(
        text=text,
        words=tuple(words),
        content=tuple(is_content(word) for word in words),
        spans=_largest(spans, thesaurus),
        kind=asked_kind(pieces, thesaurus),
        # With several topics, what they have in common is where their paths meet.
        shares=len(topics) < 2 and any(word in SHARING or COMPANY.match(word) for word in everything),
    )


def _largest(spans: Sequence[Span], thesaurus: Thesaurus) -> tuple[Span, ...]:
    """Without the phrases inside a longer one that is listed: "write the story" is one mention, not two."""
    listed = [span for span in spans if thesaurus.groups_of_words(span.text)]

    def inside(span: Span, other: Span) -> bool:
        return other != span and other.start <= span.start and span.end <= other.end

    return tuple(span for span in spans if not any(inside(span, other) for other in listed))


def _segments(text: str, topics: Sequence[tuple[int, int]]) -> list[list[str]]:
    """Tokens before the first topic, between topics, and behind the last; the walked topic's surroundings are kept
    apart only where it is the only one."""
    if not topics:
        return [_tokens(text), []]
    start, end = topics[0]
    inside = [(low, high) for low, high in topics[1:] if not (start <= low < end)]

    def cut(low: int, high: int) -> str:
        kept = text[low:high]
        for other_low, other_high in sorted(inside, reverse=True):
            if low <= other_low and other_high <= high:
                kept = kept[: other_low - low] + " , " + kept[other_high - low :]
        return kept

    return [_tokens(cut(0, start)), _tokens(cut(end, len(text)))]


def _tokens(text: str) -> list[str]:
    return [token.casefold() for token in TOKEN.findall(text.replace("_", " "))]


def _divide(behind: list[str], asked_before: bool) -> tuple[list[str], list[str]]:
    """What stands behind the topic: the part attached to it, and the part said of the whole."""
    if behind[:1] and behind[0] in POSSESSIVE:
        return behind, []
    for at, token in enumerate(behind):
        if token == "," or token in AUXILIARY:
            return behind[:at], behind[at + 1 :]
        if token in WH and not asked_before:
            return [], behind
    return behind, []


def is_content(word: str) -> bool:
    """Whether a word says something of its own."""
    return word not in FUNCTION and word not in WH


def _spans(tokens: list[str], offset: int, reverse: bool) -> list[Span]:
    """All phrases that begin and end with a content word, or begin with a question word."""
    found = []
    count = len(tokens)
    for start in range(count):
        for end in range(start + 1, min(start + LONGEST_SPAN, count) + 1):
            first, last = tokens[start], tokens[end - 1]
            if not is_content(last) or not (is_content(first) or first in WH):
                continue
            if any(token in POSSESSIVE or token == "," for token in tokens[start:end]):
                continue
            low, high = (count - end, count - start) if reverse else (start, end)
            found.append(Span(offset + low, offset + high, " ".join(tokens[start:end])))
    return found


def asked_kind(pieces: Sequence[Sequence[str]], thesaurus: Thesaurus) -> str | None:
    """The kind of thing asked for, by the question word and the noun that goes with it."""
    for piece in pieces:
        for at, token in enumerate(piece):
            behind = piece[at + 1 :]
            if token in ("when", "where"):
                return thesaurus.kind_of_noun(token)
            if token in ("what", "which") or (token in ("who", "whom") and behind[:1] and behind[0] in AUXILIARY):
                return _noun_behind(behind, thesaurus, before_topic=piece is pieces[0]) or thesaurus.kind_of_noun(token)
            if token in ("who", "whom", "this"):
                return thesaurus.kind_of_noun(token if token != "this" else next(iter(behind), ""))
    return None


def _noun_behind(tokens: Sequence[str], thesaurus: Thesaurus, before_topic: bool) -> str | None:
    """The kind named by the noun phrase that follows a question word.

    The last noun of a compound is its head ("movie writers" are persons), but nothing follows a plural ("movies star").
    """
    rest = list(tokens)
    while rest and (rest[0] in ("the", "a", "an", "name", "of", "listed", "as", "some") or rest[0] in AUXILIARY):
        if rest[0] in ("do", "does", "did"):
            return None
        rest.pop(0)
    phrase: list[str] = []
    for token in [*rest, ""]:
        if not token or not is_content(token):
            if token == "by" and phrase:  # "movie written by": a participle, not a noun
                phrase.pop()
            break
        phrase.append(token)
    rest_is_empty = all(token in SHARING for token in rest[len(phrase) :])
    if before_topic and rest_is_empty and len(phrase) > 1 and thesaurus.kind_of_noun(phrase[0]):
        phrase.pop()  # "film stars X": a verb, as the topic follows
    kind = None
    for at, token in enumerate(phrase):
        found = thesaurus.kind_given(" ".join(phrase[: at + 1])) or thesaurus.kind_of_noun(token)
        found = found or thesaurus.kind_given(token)
        if found and token.endswith("s"):
            return found
        kind = found or kind
    if kind is None or rest[len(phrase) : len(phrase) + 1] == ["of"]:
        longer = " ".join(rest[: len(phrase) + 2])  # "place of birth"
        kind = thesaurus.kind_given(longer) or kind
    return kind
