from __future__ import annotations

from reasonprune.graph.connect import connect
from reasonprune.graph.explore import Budget, Spent
from reasonprune.graph.memory import MemoryStore
from reasonprune.graph.store import Step


def test_all_shortest_ways_from_both_ends(films: MemoryStore) -> None:
    first, second = films.find("Ben Ode"), films.find("Cleo Marsh")
    paths = connect(films, first, second, Budget(), Spent())
    middles = {tuple(films.name(e) for e in path.levels[1].entities) for path in paths}
    assert middles == {("Red Dunes",), ("Salt Roads",)}
    assert Step("starred_actors") in {path.steps[1] for path in paths}
    for path in paths:
        assert path.levels[0].entities == tuple(first)
        assert path.walked


def test_no_way_within_the_depth(films: MemoryStore) -> None:
    first, second = films.find("Western"), films.find("Port Sable")
    assert connect(films, first, second, Budget(depth=3), Spent()) == []
    (path,) = connect(films, first, second, Budget(depth=4), Spent())
    assert len(path.steps) == 4
    assert connect(films, first, [], Budget(), Spent()) == []
