"""The interface of all graph stores: what exploring a graph needs, and nothing else.

Entities are opaque handles (integers or IRIs), valid for one store. A step is a relation with a direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Entity = Any  # opaque: an integer or an IRI, hashable


class Triple(NamedTuple):
    """One edge, by names."""

    head: str
    relation: str
    tail: str


class Step(NamedTuple):
    """A relation as it is walked: from head to tail, or against its direction where `inverse`."""

    relation: str
    inverse: bool = False

    def __str__(self) -> str:
        return f"<- {self.relation} <-" if self.inverse else f"-> {self.relation} ->"

    @property
    def back(self) -> Step:
        return Step(self.relation, not self.inverse)


@dataclass(frozen=True)
class Reach:
    """What a walk has reached; `cut` where a limit kept entities out."""

    entities: tuple[Entity, ...]
    cut: bool = False


@dataclass(frozen=True)
class GraphStats:
    """The size of a graph; None where a store cannot count cheaply."""

    triples: int | None
    entities: int | None
    relations: int | None
    largest_degree: int | None = None


class GraphStore(Protocol):
    """A graph to be read. All methods may raise GraphError where the store itself fails."""

    def find(self, name: str) -> list[Entity]:
        """Entities whose name or alias is `name`, but for case, underscores and surrounding blanks."""
        ...

    def similar(self, text: str, limit: int) -> list[Entity]:
        """Entities whose names share words or letters with `text`, likeliest first, at most `limit`."""
        ...

    def name(self, entity: Entity) -> str: ...

    def relations(self) -> Sequence[str]:
        """All relation names."""
        ...

    def steps(self, entities: Sequence[Entity], limit: int) -> set[Step]:
        """The steps that lead on from any of `entities`; at most `limit` edges are read."""
        ...

    def follow(self, entities: Sequence[Entity], step: Step, limit: int) -> Reach:
        """Where `step` leads from `entities`: at most `limit` distinct entities, in a stable order."""
        ...

    def edges(self, entity: Entity, limit: int) -> list[tuple[Step, Entity]]:
        """The edges of one entity, both directions, at most `limit`, spread over its relations."""
        ...

    def stats(self) -> GraphStats: ...


def normalised(name: str) -> str:
    """A name as it is compared: no case, underscores as blanks, single blanks."""
    return " ".join(name.replace("_", " ").casefold().split())


def readable(name: str) -> str:
    """A relation or entity name as words: the last part of an IRI, `camelCase` and `snake_case` taken apart."""
    tail = name.rstrip("/#>").replace("#", "/").rpartition("/")[2] if "://" in name else name
    words: list[str] = []
    for part in tail.replace("_", " ").replace(".", " ").split():
        start = 0
        for at in range(1, len(part)):
            if part[at].isupper() and part[at - 1].islower():
                words.append(part[start:at])
                start = at
        words.append(part[start:])
    return " ".join(words) or name


def distinct(entities: Iterable[Entity], limit: int) -> Reach:
    """The first `limit` distinct of `entities`."""
    seen: dict[Entity, None] = {}
    for entity in entities:
        if entity in seen:
            continue
        if len(seen) >= limit:
            return Reach(tuple(seen), cut=True)
        seen[entity] = None
    return Reach(tuple(seen))
