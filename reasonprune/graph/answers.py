"""From walked paths to ranked answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reasonprune.graph.explore import Path
from reasonprune.graph.linking import Topic
from reasonprune.graph.store import Entity, GraphStore

TOGETHER = 10.0  # points for every further topic that an entity is reached from: both are asked about


@dataclass(frozen=True)
class Answer:
    """An entity, its points, and the position of the kept path that leads to it; None where that was not kept."""

    name: str
    score: float
    path: int | None


def direct_ends(store: GraphStore, path: Path, limit: int) -> tuple[Entity, ...]:
    """The ends of a path, those first that are reached without coming back to the topic on the way.

    "Who acted with X" does not mean X, and "films of the director of X" does not mean X, though the steps lead there,
    too. They stay answers, behind the others.
    """
    origin = set(path.levels[0].entities)
    front = path.levels[0].entities
    for at, step in enumerate(path.steps):
        returns = at > 0 and path.steps[at - 1] == step.back
        reached = store.follow(front, step, limit).entities
        last = at == len(path.steps) - 1
        front = tuple(entity for entity in reached if not ((returns or last) and entity in origin))
    return tuple(dict.fromkeys((*front, *path.ends)))


def ranked(
    store: GraphStore,
    paths: Sequence[Path],
    ends: Sequence[Sequence[Entity]],
    topics: Sequence[Topic],
    max_paths: int,
    max_answers: int,
) -> tuple[list[Answer], list[Path]]:
    """Answers, best first, and the paths kept for them. `paths` come best first, `ends` belong to them.

    With several topics, what is reached from most of them goes first, and each of them keeps a path to it.
    """
    origins = [path.levels[0].entities for path in paths]
    best: dict[Entity, dict[tuple[Entity, ...], int]] = {}
    for at, reached in enumerate(ends):
        for entity in reached:
            best.setdefault(entity, {}).setdefault(origins[at], at)
    named = {entity for topic in topics for entity in topic.entities}
    several = len(topics) > 1

    def points(entity: Entity) -> float:
        ways = best[entity]
        if not several:
            return paths[min(ways.values())].score
        return sum(paths[at].score + TOGETHER for at in ways.values()) - TOGETHER * (entity in named)

    order = sorted(best, key=lambda entity: -points(entity))  # stable: paths best first, direct ends first
    used: list[int] = []
    for entity in order:
        for at in best[entity].values():
            if at not in used and len(used) < max_paths:
                used.append(at)
        if len(used) >= max_paths:
            break
    used.sort(key=lambda at: -paths[at].score)
    position = {at: number for number, at in enumerate(used)}
    answers = [
        Answer(store.name(entity), points(entity), position.get(min(best[entity].values())))
        for entity in order[:max_answers]
        if position.get(min(best[entity].values())) is not None
    ]
    return answers, [paths[at] for at in used]
