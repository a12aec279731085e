"""From a topic outwards: relation paths of up to a few steps, the promising ones walked, the rest only counted.

A path is a sequence of steps with the set of entities at each level: all walks of one relation sequence are one path
(node clustering), and an entity's edges are seen as its distinct steps (relation clustering), so a hub costs what its
relations cost, not what its neighbours do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

from reasonprune.graph.alignment import Aligner, Fit
from reasonprune.graph.store import Entity, GraphStore, Reach, Step


@dataclass(frozen=True)
class Budget:
    """Limits of one question."""

    depth: int = 3
    width: int = 80
    nodes: int = 5000
    edges: int = 100_000
    seconds: float = 30.0


@dataclass
class Spent:
    """What exploring has cost, and whether a limit kept something out."""

    considered: int = 0
    walked: int = 0
    nodes: int = 0
    cut: list[str] = field(default_factory=list)

    def limit(self, what: str) -> None:
        if what not in self.cut:
            self.cut.append(what)


@dataclass(frozen=True)
class Path:
    """`levels[0]` is the topic, `levels[i]` what the i-th step reached; one level alone where it was not walked."""

    steps: tuple[Step, ...]
    levels: tuple[Reach, ...]
    score: float

    @property
    def ends(self) -> tuple[Entity, ...]:
        return self.levels[-1].entities

    @property
    def walked(self) -> bool:
        return len(self.levels) == len(self.steps) + 1


def explore(store: GraphStore, topic: Sequence[Entity], aligner: Aligner, budget: Budget, spent: Spent) -> list[Path]:
    """All paths met, best first. Those not among the `width` best of their length were not walked."""
    deadline = perf_counter() + budget.seconds
    front: list[tuple[Path, Fit]] = [(Path((), (Reach(tuple(topic)),), 0.0), aligner.start())]
    met: list[tuple[Path, Fit]] = []
    for depth in range(1, budget.depth + 1):
        grown: list[tuple[Path, Fit]] = []
        for path, fit in front:
            if perf_counter() > deadline:
                spent.limit("seconds")
                break
            for step in sorted(store.steps(path.ends, budget.edges)):
                extended = aligner.extend(fit, step)
                score = aligner.score(extended)
                grown.append((Path(extended.steps, path.levels, score), extended))
        spent.considered += len(grown)
        met += grown
        if depth == budget.depth:
            break
        grown.sort(key=lambda pair: -float(pair[1].best[-1]))
        if len(grown) > budget.width:
            spent.limit("width")
        front = [(walk(store, path, budget, spent), fit) for path, fit in grown[: budget.width]]
    return [path for path, _ in sorted(met, key=lambda pair: -pair[0].score)]


def walk(store: GraphStore, path: Path, budget: Budget, spent: Spent) -> Path:
    """The same path with its last level filled in."""
    if path.walked:
        return path
    reach = store.follow(path.ends, path.steps[-1], budget.nodes)
    spent.walked += 1
    spent.nodes += len(reach.entities)
    if reach.cut:
        spent.limit("nodes")
    return replace(path, levels=(*path.levels, reach))


def deeper(
    store: GraphStore,
    roots: Sequence[Path],
    aligner: Aligner,
    budget: Budget,
    spent: Spent,
    known: set[tuple[Step, ...]],
) -> list[Path]:
    """The paths one step beyond `roots` that are not known yet: the last resort where none of them will do."""
    found = []
    for path in roots:
        for step in sorted(store.steps(path.ends, budget.edges)):
            steps = (*path.steps, step)
            if path.steps and steps not in known:
                spent.considered += 1
                found.append(Path(steps, path.levels, aligner.of_steps(steps)))
    return found
