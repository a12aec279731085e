"""A graph on disk, in one SQLite file: loading and answering take a bounded amount of memory.

Tables: `entity(id, name, key)` with the name as it is compared, `alias(key, id)`, `relation(id, name)`, and `edge`
once for either direction, clustered by (source, step, destination), so that an entity's edges lie side by side.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

from reasonprune.errors import GraphError
from reasonprune.graph.memory import spread
from reasonprune.graph.store import Entity, GraphStats, Reach, Step, Triple, distinct, normalised

VERSION = 1
BATCH = 50_000  # triples held in memory while loading
CACHE_KIB = 64 * 1024  # SQLite's pages held in memory, loading or answering
COMMON = 1000  # a word in more names than that tells nothing

SCHEMA = f"""
PRAGMA user_version = {VERSION};
CREATE TABLE entity (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, key TEXT NOT NULL);
CREATE TABLE alias (key TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (key, id)) WITHOUT ROWID;
CREATE TABLE relation (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE edge (source INTEGER, step INTEGER, end INTEGER, PRIMARY KEY (source, step, end)) WITHOUT ROWID;
CREATE TABLE size (triples INTEGER, largest_degree INTEGER);
"""


class DiskStore:
    """Reads a store that `load` has made. Calls from several threads take turns."""

    def __init__(self, path: Path) -> None:
        """Raises GraphError where the file is no store of this version, or an interrupted one."""
        try:
            self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            size = self._db.execute("SELECT triples, largest_degree FROM size").fetchone()
        except sqlite3.Error as error:
            raise GraphError(f"{path} is not a graph store: {error}. Make one with `reasonprune kg load`.") from None
        if version != VERSION or size is None:
            raise GraphError(f"{path} is incomplete or of another version. Load it again with `reasonprune kg load`.")
        self._lock = threading.Lock()
        self._triples, self._largest = size
        self._relations: dict[int, str] = dict(self._rows("SELECT id, name FROM relation ORDER BY id"))
        self._numbers = {name: number for number, name in self._relations.items()}

    def close(self) -> None:
        self._db.close()

    def _rows(self, sql: str, arguments: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._db.execute(sql, arguments).fetchall()
            except sqlite3.Error as error:
                raise GraphError(f"The graph store failed: {error}.") from None

    def find(self, name: str) -> list[Entity]:
        key = normalised(name)
        rows = self._rows("SELECT id FROM entity WHERE key = ?1 UNION SELECT id FROM alias WHERE key = ?1", (key,))
        return [row[0] for row in rows]

    def similar(self, text: str, limit: int) -> list[Entity]:
        scores: dict[int, float] = {}
        for word in set(normalised(text).split()):
            quoted = '"' + word.replace('"', '""') + '"'
            try:
                rows = self._rows("SELECT rowid FROM word WHERE key MATCH ? LIMIT ?", (quoted, COMMON))
            except GraphError:  # a word that the index cannot ask for, such as one of signs only
                continue
            if len(rows) < COMMON:
                for (entity,) in rows:
                    scores[entity] = scores.get(entity, 0.0) + 1 / len(rows)
        return sorted(scores, key=lambda entity: (-scores[entity], entity))[:limit]

    def name(self, entity: Entity) -> str:
        rows = self._rows("SELECT name FROM entity WHERE id = ?", (entity,))
        return str(rows[0][0])

    def relations(self) -> Sequence[str]:
        return [str(name) for name in self._relations.values()]

    def steps(self, entities: Sequence[Entity], limit: int) -> set[Step]:
        found: set[int] = set()
        for entity in islice(entities, limit):
            # One seek for each step of the entity, however many edges it has.
            number = -1
            while True:
                sql = "SELECT step FROM edge WHERE source = ? AND step > ? ORDER BY step LIMIT 1"
                rows = self._rows(sql, (entity, number))
                if not rows:
                    break
                number = rows[0][0]
                found.add(number)
            if len(found) == 2 * len(self._relations):
                break
        return {self._step(number) for number in found}

    def follow(self, entities: Sequence[Entity], step: Step, limit: int) -> Reach:
        relation = self._numbers.get(step.relation)
        if relation is None:
            return Reach(())
        number = relation * 2 + step.inverse
        return distinct(chain.from_iterable(self._ends(entity, number, limit + 1) for entity in entities), limit)

    def _ends(self, entity: Entity, number: int, limit: int) -> Iterator[int]:
        sql = "SELECT end FROM edge WHERE source = ? AND step = ? ORDER BY end LIMIT ?"
        return (row[0] for row in self._rows(sql, (entity, number, limit)))

    def edges(self, entity: Entity, limit: int) -> list[tuple[Step, Entity]]:
        numbers = sorted(self._numbers[step.relation] * 2 + step.inverse for step in self.steps([entity], 1))
        ends = [list(self._ends(entity, number, limit)) for number in numbers]
        share = spread([len(some) for some in ends], limit)
        return [
            (self._step(number), end)
            for number, some, kept in zip(numbers, ends, share, strict=True)
            for end in some[:kept]
        ]

    def stats(self) -> GraphStats:
        entities = self._rows("SELECT count(*) FROM entity")[0][0]
        return GraphStats(self._triples, entities, len(self._relations), self._largest)

    def _step(self, number: int) -> Step:
        return Step(str(self._relations[number >> 1]), bool(number & 1))


def load(triples: Iterable[Triple], path: Path, aliases: Mapping[str, Sequence[str]] | None = None) -> GraphStats:
    """Write a store, complete or not at all; repeated triples count once. Raises GraphError."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with closing(sqlite3.connect(partial)) as db:
            # Nothing reads the file before it is complete, so a journal would only cost time.
            db.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{CACHE_KIB};")
            db.executescript(SCHEMA)
            _fill(db, triples)
            _add_aliases(db, aliases or {})
            db.commit()
        partial.replace(path)
    except (sqlite3.Error, OSError) as error:
        raise GraphError(f"{path} cannot be written: {error}.") from None
    finally:
        partial.unlink(missing_ok=True)
    store = DiskStore(path)
    stats = store.stats()
    store.close()
    return stats


def _fill(db: sqlite3.Connection, triples: Iterable[Triple]) -> None:
    relations: dict[str, int] = {}
    remaining = iter(triples)
    # Edges are sorted before they go into the clustered table: inserted as they come, each would touch another page.
    db.execute("CREATE TEMP TABLE raw (source INTEGER, step INTEGER, end INTEGER)")
    while batch := list(islice(remaining, BATCH)):
        names = {name for triple in batch for name in (triple.head, triple.tail)}
        ids = _ids(db, names)
        rows = []
        for head, relation, tail in batch:
            number = relations.setdefault(relation, len(relations))
            rows.append((ids[head], number * 2, ids[tail]))
            rows.append((ids[tail], number * 2 + 1, ids[head]))
        db.executemany("INSERT INTO raw VALUES (?, ?, ?)", rows)
    db.executemany("INSERT INTO relation VALUES (?, ?)", [(number, name) for name, number in relations.items()])
    db.execute("INSERT INTO edge SELECT DISTINCT source, step, end FROM raw ORDER BY 1, 2, 3")
    db.execute("DROP TABLE raw")
    db.execute("CREATE INDEX entity_key ON entity (key)")
    db.execute("CREATE VIRTUAL TABLE word USING fts5 (key, content = 'entity', content_rowid = 'id')")
    db.execute("INSERT INTO word (word) VALUES ('rebuild')")
    db.execute(
        "INSERT INTO size SELECT (SELECT count(*) FROM edge WHERE step % 2 = 0),"
        " (SELECT max(degree) FROM (SELECT count(*) AS degree FROM edge GROUP BY source))"
    )


def _ids(db: sqlite3.Connection, names: set[str]) -> dict[str, int]:
    rows = [(name, normalised(name)) for name in sorted(names)]
    db.executemany("INSERT OR IGNORE INTO entity (name, key) VALUES (?, ?)", rows)
    ids: dict[str, int] = {}
    for name, _ in rows:
        ids[name] = db.execute("SELECT id FROM entity WHERE name = ?", (name,)).fetchone()[0]
    return ids


def _add_aliases(db: sqlite3.Connection, aliases: Mapping[str, Sequence[str]]) -> None:
    for name, others in aliases.items():
        for other in others:
            db.execute("INSERT OR IGNORE INTO alias SELECT ?, id FROM entity WHERE name = ?", (normalised(other), name))
