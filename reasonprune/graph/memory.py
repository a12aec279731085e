"""A graph in memory: names in lists, edges of both directions in sorted arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from reasonprune.graph.store import Entity, GraphStats, Reach, Step, Triple, distinct, normalised

WORD_HITS = 2000  # entities looked at for one word of a name; words as common as that tell nothing


class MemoryStore:
    """Answers every call from arrays; about 40 bytes a triple beside the names.

    Edges are held once for either direction, sorted by (source, step, destination): an entity's edges are one slice,
    and within it those of a step are one slice.
    """

    def __init__(self, triples: Iterable[Triple], aliases: Mapping[str, Sequence[str]] | None = None) -> None:
        """`aliases`: other names by entity name. Repeated triples count once."""
        ids: dict[str, int] = {}
        relations: dict[str, int] = {}
        columns: tuple[list[int], list[int], list[int]] = ([], [], [])
        for head, relation, tail in triples:
            columns[0].append(ids.setdefault(head, len(ids)))
            columns[1].append(relations.setdefault(relation, len(relations)))
            columns[2].append(ids.setdefault(tail, len(ids)))
        self._names = list(ids)
        self._relations = list(relations)
        self._by_name: dict[str, list[int]] = defaultdict(list)
        for name, entity in ids.items():
            self._by_name[normalised(name)].append(entity)
        for name, others in (aliases or {}).items():
            if name in ids:
                for other in others:
                    self._by_name[normalised(other)].append(ids[name])
        self._words: dict[str, list[int]] | None = None
        self._index(*(np.asarray(column, dtype=np.int64) for column in columns))

    def _index(self, heads: Any, relations: Any, tails: Any) -> None:
        table = np.unique(np.stack([heads, relations, tails], axis=1), axis=0) if len(heads) else np.empty((0, 3), int)
        self._triples = len(table)
        sources = np.concatenate([table[:, 0], table[:, 2]])
        # A step's number is twice the relation's, one more against its direction.
        steps = np.concatenate([table[:, 1] * 2, table[:, 1] * 2 + 1])
        ends = np.concatenate([table[:, 2], table[:, 0]])
        order = np.lexsort((ends, steps, sources))
        self._starts = np.searchsorted(sources[order], np.arange(len(self._names) + 1))
        self._steps = steps[order].astype(np.int32)
        self._ends = ends[order].astype(np.int32)

    def find(self, name: str) -> list[Entity]:
        return list(self._by_name.get(normalised(name), ()))

    def similar(self, text: str, limit: int) -> list[Entity]:
        if self._words is None:
            self._words = defaultdict(list)
            for name, entities in self._by_name.items():
                for word in set(name.split()):
                    self._words[word].extend(entities)
        scores: dict[int, float] = defaultdict(float)
        for word in set(normalised(text).split()):
            hits = self._words.get(word, ())
            if 0 < len(hits) <= WORD_HITS:
                for entity in hits:
                    scores[entity] += 1 / len(hits)
        return sorted(scores, key=lambda entity: (-scores[entity], len(self._names[entity]), entity))[:limit]

    def name(self, entity: Entity) -> str:
        return self._names[entity]

    def relations(self) -> Sequence[str]:
        return self._relations

    def steps(self, entities: Sequence[Entity], limit: int) -> set[Step]:
        found: set[int] = set()
        for entity in entities:
            low, high = self._slice(entity)
            found.update(np.unique(self._steps[low:high]).tolist())
            limit -= high - low
            if limit <= 0:
                break
        return {Step(self._relations[number >> 1], bool(number & 1)) for number in found}

    def follow(self, entities: Sequence[Entity], step: Step, limit: int) -> Reach:
        if step.relation not in self._relations:
            return Reach(())
        number = self._relations.index(step.relation) * 2 + step.inverse
        return distinct((end for entity in entities for end in self._ends_of(entity, number)), limit)

    def _ends_of(self, entity: Entity, number: int) -> list[int]:
        low, high = self._slice(entity)
        first, last = np.searchsorted(self._steps[low:high], (number, number + 1))
        return self._ends[low + first : low + last].tolist()

    def edges(self, entity: Entity, limit: int) -> list[tuple[Step, Entity]]:
        low, high = self._slice(entity)
        numbers, counts = np.unique(self._steps[low:high], return_counts=True)
        share = spread(counts.tolist(), limit)
        found: list[tuple[Step, Entity]] = []
        for number, kept in zip(numbers.tolist(), share, strict=True):
            step = Step(self._relations[number >> 1], bool(number & 1))
            found += [(step, end) for end in self._ends_of(entity, number)[:kept]]
        return found

    def stats(self) -> GraphStats:
        largest = int(np.diff(self._starts).max()) if len(self._names) else 0
        return GraphStats(self._triples, len(self._names), len(self._relations), largest)

    def _slice(self, entity: Entity) -> tuple[int, int]:
        return int(self._starts[entity]), int(self._starts[entity + 1])


def spread(counts: Sequence[int], limit: int) -> list[int]:
    """How many of each kind to keep within `limit` in all: small kinds whole, so that a hub's one relation of many
    edges does not crowd out the others."""
    kept = [0] * len(counts)
    left = limit
    for rank, at in enumerate(sorted(range(len(counts)), key=counts.__getitem__)):
        kept[at] = min(counts[at], left // (len(counts) - rank))
        left -= kept[at]
    return kept
