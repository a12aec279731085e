"""What common relation words mean in general English: a table that goes before the similarity of embeddings.

Embeddings know that a kid is a child; that an heir is one, too, and no spouse, is closer than they can tell. The table
is data (`thesaurus.toml`) and knows nothing of any one graph: relations it does not list are matched by similarity.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reasonprune.graph.store import Step, readable

ARTICLES = ("a", "an", "the")


@dataclass(frozen=True)
class Group:
    """Words of one meaning. `of` and `gives` are the kinds of thing that its relations lead from and to."""

    relations: frozenset[str]
    words: frozenset[str]
    of: str | None
    gives: str | None


@dataclass(frozen=True)
class Idiom:
    """A question with the word `first` that ends in the word `last` asks for what `means` says."""

    first: str
    last: str
    means: str


class Thesaurus:
    """Groups of words, and nouns by kind of thing."""

    def __init__(self, groups: Sequence[Group], kinds: dict[str, frozenset[str]], idioms: Sequence[Idiom] = ()) -> None:
        self._groups = groups
        self._kinds = kinds
        self._idioms = idioms
        self._by_word: dict[str, list[int]] = defaultdict(list)
        for at, group in enumerate(groups):
            for word in group.words:
                self._by_word[word].append(at)

    def groups_of_words(self, text: str) -> frozenset[int]:
        """The groups that a phrase of a question belongs to, articles left out; none where it is not listed."""
        words = " ".join(word for word in text.split() if word not in ARTICLES)
        return frozenset(self._by_word.get(words, ()))

    def plain(self, pieces: list[list[str]]) -> list[list[str]]:
        """Tokens with idioms and compounds in plain words: "what does she do" asks for an occupation, and a grandson
        is a son of a son."""
        tokens = [token for piece in pieces for token in piece]
        for idiom in self._idioms:
            if idiom.first in tokens[:-1] and pieces[-1][-1:] == [idiom.last]:
                pieces = [*pieces[:-1], [*pieces[-1][:-1], idiom.means]]
        return [[word for token in piece for word in self._taken_apart(token)] for piece in pieces]

    def _taken_apart(self, token: str) -> list[str]:
        rest = token.removeprefix("grand")
        return [rest, "of", rest] if rest != token and self.groups_of_words(rest) else [token]

    def group_of_relation(self, relation: str) -> int | None:
        """The group of a relation, by the longest of its words that is a group's."""
        text = f" {readable(relation).casefold()} "
        best, length = None, 0
        for at, group in enumerate(self._groups):
            longest = max((len(word) for word in group.relations if f" {word} " in text), default=0)
            if longest > length:
                best, length = at, longest
        return best

    def kind_of_end(self, step: Step) -> str | None:
        """The kind of thing that a step leads to, None where that is not known."""
        at = self.group_of_relation(step.relation)
        if at is None:
            return None
        return self._groups[at].of if step.inverse else self._groups[at].gives

    def kind_of_noun(self, word: str) -> str | None:
        """`films` as `work`, `who` as `person`."""
        return next((kind for kind, nouns in self._kinds.items() if word in nouns), None)

    def kind_given(self, text: str) -> str | None:
        """What a relation word leads to: `actors` are persons, `genres` genres."""
        groups = self.groups_of_words(text)
        return self._groups[min(groups)].gives if groups else None


EMPTY = Thesaurus((), {})


@cache
def english() -> Thesaurus:
    """The table that ships with reasonprune."""
    table = tomllib.loads((Path(__file__).parent / "thesaurus.toml").read_text(encoding="utf-8"))
    groups = [
        Group(
            frozenset(row["relations"]),
            frozenset(row["relations"]) | frozenset(row["words"]),
            row.get("of"),
            row.get("gives"),
        )
        for row in table["group"]
    ]
    kinds = {kind: frozenset(nouns) for kind, nouns in table["kinds"].items()}
    return Thesaurus(groups, kinds, [Idiom(**row) for row in table["idiom"]])
