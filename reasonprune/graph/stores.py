"""A store for what a user names: a file of triples, a store on disk, or an endpoint."""

from __future__ import annotations

from pathlib import Path

from reasonprune.errors import GraphError
from reasonprune.graph.memory import MemoryStore
from reasonprune.graph.readers import Format, first_of, read_triples
from reasonprune.graph.store import GraphStore
from reasonprune.options import StoreOptions

SQLITE_HEAD = b"SQLite format 3\x00"


def open_path(path: Path, form: Format | None = None) -> GraphStore:
    """A store made by `reasonprune kg load`, else a file of triples, read into memory. Raises GraphError."""
    if is_disk_store(path):
        from reasonprune.graph.disk import DiskStore

        return DiskStore(path)
    return MemoryStore(first_of(read_triples(path, form)))


def open_store(options: StoreOptions) -> GraphStore:
    """The store that a server's settings describe. Raises GraphError."""
    if options.sparql is not None:
        from reasonprune.graph.sparql import SparqlStore

        return SparqlStore(options.sparql, options.timeout_s)
    assert options.path is not None, "validated"
    return open_path(Path(options.path).expanduser())


def is_disk_store(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE_HEAD)) == SQLITE_HEAD
    except IsADirectoryError:
        return False
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error.strerror}.") from None
