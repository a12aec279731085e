"""Paths between two entities: a search from both ends that meets in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from reasonprune.graph.explore import Budget, Path, Spent
from reasonprune.graph.store import Entity, GraphStore, Reach, Step

Trail = tuple[tuple[Step, Entity], ...]  # the steps from an origin, each with what it reached


def connect(
    store: GraphStore, first: Sequence[Entity], second: Sequence[Entity], budget: Budget, spent: Spent
) -> list[Path]:
    """Shortest paths of up to `budget.depth` steps from any of `first` to any of `second`, merged by their steps.

    All shortest ways are found, not only one to each node. Node limits hold for either side; edges of a hub are read
    in part, spread over its relations.
    """
    left: dict[Entity, list[Trail]] = {entity: [()] for entity in first}
    right: dict[Entity, list[Trail]] = {entity: [()] for entity in second}
    front, back = dict(left), dict(right)
    for depth in range(budget.depth + 1):
        if meeting := [entity for entity in front if entity in back]:
            return _merged([path for entity in meeting for path in _joined(front[entity], back[entity])], first)
        if depth == budget.depth or not front or not back:
            return []
        # The smaller side grows: a hub at one end is then approached from the other.
        if len(front) <= len(back):
            front = _grow(store, front, left, budget, spent)
        else:
            back = _grow(store, back, right, budget, spent)
    return []


def _grow(
    store: GraphStore, front: dict[Entity, list[Trail]], seen: dict[Entity, list[Trail]], budget: Budget, spent: Spent
) -> dict[Entity, list[Trail]]:
    grown: dict[Entity, list[Trail]] = {}
    for entity, trails in front.items():
        edges = store.edges(entity, budget.nodes)
        if len(edges) >= budget.nodes:
            spent.limit("nodes")
        for step, neighbour in edges:
            if neighbour in seen:
                continue
            ways = grown.setdefault(neighbour, [])
            ways += [(*trail, (step, neighbour)) for trail in trails[: budget.width - len(ways)]]
            if len(grown) >= budget.nodes:
                spent.limit("nodes")
                break
    spent.nodes += len(grown)
    seen.update(grown)
    return grown


def _joined(left: Sequence[Trail], right: Sequence[Trail]) -> list[Trail]:
    """Trails from either origin to one entity, as trails from the first origin to the second."""
    joined = []
    for there, back in product(left, right):
        places = range(len(back) - 1, -1, -1)
        turned = [(back[at][0].back, back[at - 1][1] if at else None) for at in places]
        joined.append((*there, *turned))
    return joined


def _merged(trails: Sequence[Trail], origin: Sequence[Entity]) -> list[Path]:
    """Trails of the same steps become one path with a set of entities at each level."""
    groups: dict[tuple[Step, ...], list[Trail]] = {}
    for trail in trails:
        groups.setdefault(tuple(step for step, _ in trail), []).append(trail)
    paths = []
    for steps, same in groups.items():
        levels = [
            Reach(tuple(dict.fromkeys(trail[at][1] for trail in same if trail[at][1] is not None)))
            for at in range(len(steps))
        ]
        paths.append(Path(steps, (Reach(tuple(origin)), *levels), 0.0))
    return paths
