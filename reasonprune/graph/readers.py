"""Triples from files: tables (TSV, CSV), RDF (N-Triples, Turtle, ...), GraphML, JSON, and MetaQA's folder of ids.

Every reader yields triples one after the other, so that a file larger than memory can go to a store on disk.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from reasonprune.errors import GraphError
from reasonprune.graph.store import Triple

Format = Literal["tsv", "csv", "rdf", "graphml", "json", "metaqa"]
SUFFIXES: dict[str, Format] = {
    ".tsv": "tsv",
    ".txt": "tsv",
    ".csv": "csv",
    ".nt": "rdf",
    ".ttl": "rdf",
    ".turtle": "rdf",
    ".n3": "rdf",
    ".rdf": "rdf",
    ".graphml": "graphml",
    ".json": "json",
}
RDF_SYNTAX = {".nt": "nt", ".ttl": "turtle", ".turtle": "turtle", ".n3": "n3", ".rdf": "xml"}
METAQA_NAMES = ("entity2text.txt", "relation2text.txt")
METAQA_SPLITS = ("train.tsv", "dev.tsv", "test.tsv", "test_old.tsv")
RELATION_KEYS = ("relation", "label", "type", "predicate", "key", "name")
NAME_KEYS = ("name", "label")
TRIPLE_KEYS = (("head", "relation", "tail"), ("subject", "predicate", "object"), ("source", "relation", "target"))


def read_triples(path: Path, form: Format | None = None) -> Iterator[Triple]:
    """The triples of a file, or of MetaQA's folder. `form` unset: by the name's ending.

    An empty file gives none. Raises GraphError naming file and line where it is not readable as such.
    """
    if path.is_dir():
        if all((path / name).is_file() for name in METAQA_NAMES):
            return _metaqa(path)
        raise GraphError(f"{path} is a folder without {' and '.join(METAQA_NAMES)}. Name a file of triples.")
    if not path.is_file():
        raise GraphError(f"There is no file {path}. Name a file of triples.")
    form = form or SUFFIXES.get(path.suffix.lower())
    if form is None:
        known = ", ".join(SUFFIXES)
        raise GraphError(f"{path.name} ends in none of {known}. Rename it, or say which format it has.")
    if form == "metaqa":
        return _metaqa(path.parent)
    if form == "tsv" and _belongs_to_metaqa(path):
        return _named_ids(path.parent, [path])
    return {"tsv": _table, "csv": _table, "rdf": _rdf, "graphml": _graphml, "json": _json}[form](path)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        # Only "\n" ends a line: names may hold other characters that Python takes for line ends.
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise GraphError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}).") from None


def _table(path: Path) -> Iterator[Triple]:
    """Three columns: head, relation, tail. Tabs (or bars, where no tab is) need no quoting; commas follow RFC 4180."""
    lines = _lines(path)
    if path.suffix.lower() == ".csv":
        rows: Iterable[list[str]] = csv.reader(line for _, line in lines)
    else:
        rows = (line.split("\t" if "\t" in line else "|") for _, line in lines)
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if len(cells) != 3 or not all(cells):
            raise GraphError(f"{path}, row {number}: expected head, relation and tail, but found {len(cells)} columns.")
        if number == 1 and tuple(cell.lower() for cell in cells) in TRIPLE_KEYS:
            continue
        yield Triple(*cells)


def _belongs_to_metaqa(path: Path) -> bool:
    return path.name in METAQA_SPLITS and all((path.parent / name).is_file() for name in METAQA_NAMES)


def _metaqa(folder: Path) -> Iterator[Triple]:
    return _named_ids(folder, [folder / name for name in METAQA_SPLITS if (folder / name).is_file()])


def _named_ids(folder: Path, files: list[Path]) -> Iterator[Triple]:
    """Triples of ids, by the names that two other files give to the ids."""
    entities, relations = (_names(folder / name) for name in METAQA_NAMES)
    for path in files:
        for number, line in _lines(path):
            ids = line.split("\t")
            if len(ids) != 3:
                raise GraphError(f"{path}, row {number}: expected three ids, but found {len(ids)}.")
            head, relation, tail = ids
            # An id without a name stays an id: MetaQA itself has one, and its edges still connect others.
            yield Triple(entities.get(head, head), relations.get(relation, relation), entities.get(tail, tail))


def _names(path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for _, line in _lines(path):
        number, _, name = line.partition("\t")
        names.setdefault(number.strip(), name.strip())
    return names


def _rdf(path: Path) -> Iterator[Triple]:
    """Resources by their `rdfs:label` where they have one, else by IRI; literals by their text."""
    try:
        import rdflib
    except ImportError:
        raise GraphError("RDF files need rdflib: pip install 'reasonprune[graph]'.") from None
    graph = rdflib.Graph()
    try:
        graph.parse(path, format=RDF_SYNTAX.get(path.suffix.lower(), "turtle"))
    except Exception as error:  # rdflib's parsers raise many kinds
        raise GraphError(f"{path} cannot be read as RDF: {str(error)[:300]}") from None
    label = rdflib.RDFS.label
    labels = {subject: str(value) for subject, value in graph.subject_objects(label)}
    unique = _only_once(labels)

    def name(node: Any) -> str:
        return unique.get(node, str(node))

    return (Triple(name(s), name(p), name(o)) for s, p, o in graph if p != label)


def _only_once(labels: dict[Any, str]) -> dict[Any, str]:
    """Labels that name one node only; two nodes of one label stay apart, by IRI."""
    seen: dict[str, int] = {}
    for label in labels.values():
        seen[label] = seen.get(label, 0) + 1
    return {node: label for node, label in labels.items() if seen[label] == 1}


def _graphml(path: Path) -> Iterator[Triple]:
    try:
        import networkx
    except ImportError:
        raise GraphError("GraphML files need networkx: pip install 'reasonprune[graph]'.") from None
    try:
        graph = networkx.read_graphml(path)
    except Exception as error:  # an XML parser's, or networkx's own
        raise GraphError(f"{path} cannot be read as GraphML: {error}") from None
    return from_networkx(graph)


def from_networkx(graph: Any) -> Iterator[Triple]:
    """The edges of a networkx graph of any kind; nodes by their `name` or `label`, relations by an edge's attribute."""

    def name(node: Any) -> str:
        attributes = graph.nodes[node]
        return str(next((attributes[key] for key in NAME_KEYS if attributes.get(key)), node))

    for head, tail, attributes in graph.edges(data=True):
        relation = next((attributes[key] for key in RELATION_KEYS if attributes.get(key)), "related to")
        yield Triple(name(head), str(relation), name(tail))


def _json(path: Path) -> Iterator[Triple]:
    """An array of triples or objects, JSON Lines of the same, or a node-link graph as networkx writes it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = json.loads(text)
    except ValueError:
        try:
            document = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise GraphError(f"{path} is not JSON: {error}.") from None
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error.strerror}.") from None
    if isinstance(document, dict) and "nodes" in document:
        return _node_link(path, document)
    rows = document.get("triples") if isinstance(document, dict) else document
    if isinstance(rows, list) and rows and isinstance(rows[0], str):
        rows = [rows]  # one line of JSON Lines is a document, too
    if not isinstance(rows, list):
        raise GraphError(f"{path}: expected an array of triples, or a node-link graph with `nodes`.")
    return (_json_triple(path, number, row) for number, row in enumerate(rows, 1))


def _json_triple(path: Path, number: int, row: Any) -> Triple:
    if isinstance(row, dict):
        keys = next((keys for keys in TRIPLE_KEYS if all(key in row for key in keys)), ())
        row = [row[key] for key in keys]
    if not isinstance(row, list) or len(row) != 3 or any(cell is None or cell == "" for cell in row):
        raise GraphError(f"{path}, triple {number}: expected [head, relation, tail], or an object with these keys.")
    return Triple(*(cell if isinstance(cell, str) else json.dumps(cell) for cell in row))


def _node_link(path: Path, document: dict[str, Any]) -> Iterator[Triple]:
    import networkx

    try:
        edges = "edges" if "edges" in document else "links"
        return from_networkx(networkx.node_link_graph(document, directed=True, multigraph=True, edges=edges))
    except (KeyError, TypeError, networkx.NetworkXException) as error:
        raise GraphError(f"{path}: not a node-link graph ({type(error).__name__}: {error}).") from None


def first_of(triples: Iterator[Triple]) -> Iterator[Triple]:
    """The same triples, the first one read already, so that a file that is not readable fails here and now."""
    for triple in triples:
        return chain([triple], triples)
    return iter(())


def read_aliases(path: Path) -> dict[str, list[str]]:
    """Other names by entity, from two columns. Raises GraphError."""
    aliases: dict[str, list[str]] = {}
    for number, line in _lines(path):
        cells = line.split("\t")
        if len(cells) != 2:
            raise GraphError(f"{path}, row {number}: expected an entity and another name, tab between.")
        aliases.setdefault(cells[0].strip(), []).append(cells[1].strip())
    return aliases
