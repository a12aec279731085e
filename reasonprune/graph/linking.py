"""Which entities of a graph a question names: marked, exact, alias, by near spelling, and last by embedding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from reasonprune.graph.question import FUNCTION, WH
from reasonprune.graph.store import Entity, GraphStore, normalised
from reasonprune.graph.thesaurus import Thesaurus
from reasonprune.sentence_encoder import Encoder

MARKED = re.compile(r"\[([^\[\]]+)\]")
WORD = re.compile(r"[^\s?!,;:\"“”]+")
LONGEST_NAME = 12  # words
CANDIDATES = 50
FUZZY = 0.85  # least ratio of equal letters
EMBEDDED = 0.75  # least cosine


How = Literal["given", "marked", "exact", "fuzzy", "embedding"]


@dataclass(frozen=True)
class Topic:
    """An entity that the question names, all entities of that name, and where in the question (characters)."""

    name: str
    entities: tuple[Entity, ...]
    start: int
    end: int
    how: How


def link(question: str, store: GraphStore, encoder: Encoder | None, thesaurus: Thesaurus, most: int = 3) -> list[Topic]:
    """The entities named, in order of appearance. Brackets mark them; without brackets they are looked for.

    Exact names go before near spellings, and those before embeddings; longer names before shorter ones within them.
    """
    if marked := list(MARKED.finditer(question)):
        return [topic for match in marked if (topic := _marked(question, match, store))]
    words = [(match.start(), match.end()) for match in WORD.finditer(question)]
    found = _exact(question, words, store, thesaurus)
    if not found and (near := _near(question, words, store, encoder)):
        found = [near]
    return sorted(found, key=lambda topic: topic.start)[:most]


def given(question: str, name: str, store: GraphStore) -> Topic | None:
    """The topic that a caller names; None where the graph has no entity of that name."""
    entities = store.find(name)
    if not entities:
        return None
    at = question.casefold().find(name.casefold())
    start, end = (at, at + len(name)) if at >= 0 else (len(question), len(question))
    return Topic(name, _spelled(store, entities, name), start, end, "given")


def _spelled(store: GraphStore, entities: Sequence[Entity], name: str) -> tuple[Entity, ...]:
    """Those spelled just so, all where none is: `Horror` may be a genre, and `horror` a tag."""
    return tuple([entity for entity in entities if store.name(entity) == name] or entities)


def _marked(question: str, match: re.Match[str], store: GraphStore) -> Topic | None:
    name = match[1].strip()
    if entities := store.find(name):
        return Topic(name, _spelled(store, entities, name), match.start(), match.end(), "marked")
    best = _closest(name, store)
    return Topic(store.name(best), (best,), match.start(), match.end(), "fuzzy") if best is not None else None


def _exact(question: str, words: Sequence[tuple[int, int]], store: GraphStore, thesaurus: Thesaurus) -> list[Topic]:
    """Longest names first; a name of one everyday word ("it", "director") is hardly meant as one."""
    found: list[Topic] = []
    for count in range(min(LONGEST_NAME, len(words)), 0, -1):
        for at in range(len(words) - count + 1):
            start, end = words[at][0], words[at + count - 1][1]
            if any(start < topic.end and topic.start < end for topic in found):
                continue
            name = question[start:end]
            for spelled in dict.fromkeys([name, re.sub(r"['’]s$", "", name), name.rstrip(".'’")]):
                if _everyday(spelled, thesaurus):
                    continue
                if entities := store.find(spelled):
                    shown = _spelled(store, entities, spelled)
                    found.append(Topic(store.name(shown[0]), shown, start, start + len(spelled), "exact"))
                    break
    # A longer name is better evidence: with one of several words, single lower-case words are likely just words.
    several = [topic for topic in found if " " in topic.name or "_" in topic.name]
    return [
        topic for topic in found if topic in several or not several or not question[topic.start : topic.end].islower()
    ]


def _everyday(name: str, thesaurus: Thesaurus) -> bool:
    words = name.casefold().split()
    return all(
        word in FUNCTION or word in WH or thesaurus.kind_of_noun(word) or thesaurus.groups_of_words(word)
        for word in words
    ) and not any(letter.isupper() for letter in name[1:])


def _near(question: str, words: Sequence[tuple[int, int]], store: GraphStore, encoder: Encoder | None) -> Topic | None:
    """The phrase that comes closest to any name."""
    best: tuple[float, Topic] | None = None
    phrases = []
    for count in range(min(LONGEST_NAME, len(words)), 0, -1):
        for at in range(len(words) - count + 1):
            start, end = words[at][0], words[at + count - 1][1]
            phrase = re.sub(r"['’]s$", "", question[start:end])
            if len(phrase) >= 4 and phrase.casefold() not in FUNCTION | WH:
                phrases.append((start, start + len(phrase), phrase))
    candidates = store.similar(question, CANDIDATES)
    names = {entity: normalised(store.name(entity)) for entity in candidates}
    for start, end, phrase in phrases:
        for entity, name in names.items():
            ratio = _ratio(normalised(phrase), name)
            if ratio >= FUZZY and (best is None or ratio > best[0]):
                best = ratio, Topic(store.name(entity), (entity,), start, end, "fuzzy")
    if best is not None or encoder is None or not candidates or not phrases:
        return best[1] if best else None
    rows = encoder.encode([phrase for _, _, phrase in phrases])
    cosines = rows @ encoder.encode(list(names.values())).T
    at, which = divmod(int(cosines.argmax()), len(names))
    if cosines[at, which] < EMBEDDED:
        return None
    entity, (start, end, _) = candidates[which], phrases[at]
    return Topic(store.name(entity), (entity,), start, end, "embedding")


def _closest(name: str, store: GraphStore) -> Entity | None:
    rated = [(_ratio(normalised(name), normalised(store.name(e))), e) for e in store.similar(name, CANDIDATES)]
    ratio, entity = max(rated, key=lambda pair: pair[0], default=(0.0, None))
    return entity if ratio >= FUZZY else None


def _ratio(first: str, second: str) -> float:
    if min(len(first), len(second)) < 0.7 * max(len(first), len(second)):
        return 0.0
    return SequenceMatcher(None, first, second).ratio()
