"""Every kind of store gives the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from film_triples import FILMS
from sparql_server import sparql_server

from reasonprune.errors import GraphError
from reasonprune.graph.disk import DiskStore, load
from reasonprune.graph.memory import MemoryStore, spread
from reasonprune.graph.sparql import SparqlStore
from reasonprune.graph.store import GraphStats, Step, Triple, readable


@pytest.fixture(params=["memory", "disk", "sparql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryStore(FILMS)
    elif request.param == "disk":
        load(iter(FILMS), tmp_path / "films.db")
        disk = DiskStore(tmp_path / "films.db")
        yield disk
        disk.close()
    else:
        with sparql_server(FILMS) as url:
            remote = SparqlStore(url)
            yield remote
            remote.close()


def names(store: Any, entities: Any) -> set[str]:
    return {store.name(entity) for entity in entities}


def words(steps: Any) -> set[tuple[str, bool]]:
    return {(readable(step.relation), step.inverse) for step in steps}


def step_of(store: Any, entity: Any, relation: str, inverse: bool = False) -> Step:
    return next(s for s in store.steps([entity], 100) if (readable(s.relation), s.inverse) == (relation, inverse))


def test_found_by_name_whatever_the_case_and_underscores(store: Any) -> None:
    assert names(store, store.find("Red Dunes")) == {"Red Dunes"}
    assert names(store, store.find("red_dunes")) == {"Red Dunes"}
    assert store.find("Blue Dunes") == []


def test_near_names(store: Any) -> None:
    assert "Red Dunes" in names(store, store.similar("the dunes of red", 5))
    assert store.similar('") } #', 5) == []


def test_steps_go_both_ways(store: Any) -> None:
    (ada,) = store.find("Ada Lang")
    assert words(store.steps([ada], 100)) == {("directed by", True), ("spouse", False), ("children", False)}


def test_following_a_step(store: Any) -> None:
    (ada,) = store.find("Ada Lang")
    reach = store.follow([ada], step_of(store, ada, "directed by", True), 10)
    assert names(store, reach.entities) == {"Red Dunes", "Salt Roads"}
    assert not reach.cut
    assert store.follow([ada], step_of(store, ada, "directed by", True), 1).cut
    assert store.follow([ada], Step("no such relation"), 10).entities == ()


def test_edges_are_spread_over_relations(store: Any) -> None:
    (film,) = store.find("Red Dunes")
    assert len(store.edges(film, 100)) == 5
    assert len(words(step for step, _ in store.edges(film, 4))) == 4


def test_size(store: Any) -> None:
    stats = store.stats()
    labels = (14, 1) if isinstance(store, SparqlStore) else (0, 0)  # an endpoint counts its labels, too
    assert (stats.triples, stats.relations) == (16 + labels[0], 8 + labels[1])


def test_a_hub_keeps_its_rare_relations() -> None:
    assert spread([100_000, 1, 5], 10) == [5, 1, 4]
    assert spread([], 10) == []


def test_an_empty_graph(tmp_path: Path) -> None:
    load(iter(()), tmp_path / "empty.db")
    for store in (MemoryStore([]), DiskStore(tmp_path / "empty.db")):
        assert store.find("x") == [] == store.similar("x", 3)
        assert store.stats().triples == 0
        assert store.steps([], 3) == set()


def test_repeated_triples_loops_and_odd_names(tmp_path: Path) -> None:
    odd = [Triple("a\u2028b", "r", "a\u2028b"), Triple("a\u2028b", "r", "a\u2028b"), Triple('"q", {x}', "r", "12.5")]
    load(iter(odd), tmp_path / "odd.db")
    for store in (MemoryStore(odd), DiskStore(tmp_path / "odd.db")):
        assert store.stats().triples == 2
        (loop,) = store.find("a\u2028b")
        assert store.follow([loop], Step("r"), 5).entities == (loop,)
        assert names(store, store.find('"Q", {x}')) == {'"q", {x}'}


def test_aliases(tmp_path: Path) -> None:
    aliases = {"Ada Lang": ["A. Lang"], "nobody": ["x"]}
    load(iter(FILMS), tmp_path / "films.db", aliases)
    for store in (MemoryStore(FILMS, aliases), DiskStore(tmp_path / "films.db")):
        assert names(store, store.find("a. lang")) == {"Ada Lang"}


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"SQLite format 3\x00 and then nothing")
    with pytest.raises(GraphError, match="kg load"):
        DiskStore(other)


def test_loading_is_complete_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> Iterator[Triple]:
        yield FILMS[0]
        raise GraphError("row 2 is broken")

    with pytest.raises(GraphError, match="row 2"):
        load(broken(), tmp_path / "films.db")
    assert list(tmp_path.iterdir()) == []


def test_stats_are_plain() -> None:
    assert MemoryStore(FILMS).stats() == GraphStats(16, 14, 8, 5)
