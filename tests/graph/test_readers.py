from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasonprune.errors import GraphError
from reasonprune.graph.readers import read_aliases, read_triples
from reasonprune.graph.store import Triple

AB = Triple("a b", "r", "c,d")
TURTLE = """@prefix : <http://x.org/> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
:a :knows :b ; :age 12 . :a rdfs:label "Ann" . :b rdfs:label "Bo" . :knows rdfs:label "knows" ."""
FILES = {
    "t.tsv": "a b\tr\tc,d\n",
    "header.tsv": "head\trelation\ttail\na b\tr\tc,d\n\n",
    "crlf.txt": "a b\tr\tc,d\r\n",
    "bars.txt": "a b|r|c,d\n",
    "quoted.csv": 'a b,r,"c,d"\n',
    "list.json": json.dumps([["a b", "r", "c,d"]]),
    "objects.json": json.dumps({"triples": [{"subject": "a b", "predicate": "r", "object": "c,d"}]}),
    "lines.json": '["a b", "r", "c,d"]\n',
    "node_link.json": json.dumps(
        {
            "directed": True,
            "multigraph": True,
            "graph": {},
            "nodes": [{"id": 1, "name": "a b"}, {"id": 2, "name": "c,d"}],
            "edges": [{"source": 1, "target": 2, "key": 0, "relation": "r"}],
        }
    ),
    "g.graphml": """<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><key id="d0" for="edge"
attr.name="relation" attr.type="string"/><graph edgedefault="directed"><node id="a b"/><node id="c,d"/>
<edge source="a b" target="c,d"><data key="d0">r</data></edge></graph></graphml>""",
}


@pytest.mark.parametrize("name", FILES)
def test_formats(tmp_path: Path, name: str) -> None:
    if name.endswith((".graphml", "link.json")):
        pytest.importorskip("networkx")
    path = tmp_path / name
    path.write_text(FILES[name], encoding="utf-8")
    assert list(read_triples(path)) == [AB]


def test_rdf_goes_by_labels_where_they_are_unique(tmp_path: Path) -> None:
    pytest.importorskip("rdflib")
    path = tmp_path / "x.ttl"
    path.write_text(TURTLE)
    assert set(read_triples(path)) == {Triple("Ann", "knows", "Bo"), Triple("Ann", "http://x.org/age", "12")}


def test_ids_of_metaqa(tmp_path: Path) -> None:
    (tmp_path / "entity2text.txt").write_text("0\tKismet\n1\tAda\n1\tsomebody else\n")
    (tmp_path / "relation2text.txt").write_text("0\tdirected by\n")
    (tmp_path / "train.tsv").write_text("0\t0\t1\n")
    (tmp_path / "test.tsv").write_text("0\t0\t7\n")
    both = {Triple("Kismet", "directed by", "Ada"), Triple("Kismet", "directed by", "7")}
    assert set(read_triples(tmp_path)) == both
    assert list(read_triples(tmp_path / "train.tsv")) == [Triple("Kismet", "directed by", "Ada")]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.tsv", "a\tb\n", "row 1"),
        ("x.tsv", "a\tr\tb\na\t\tb\n", "row 2"),
        ("x.json", "{", "not JSON"),
        ("x.json", "3", "array"),
        ("x.json", '[["a", "r"]]', "triple 1"),
        ("x.json", '{"nodes": 3}', "node-link"),
        ("x.xlsx", "", "ends in none"),
        ("x.ttl", "this is not turtle", "as RDF"),
        ("x.graphml", "<graphml", "as GraphML"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(GraphError, match=words):
        list(read_triples(path))


def test_not_there_and_not_text(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no file"):
        read_triples(tmp_path / "none.tsv")
    with pytest.raises(GraphError, match="folder without"):
        read_triples(tmp_path)
    (tmp_path / "x.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(GraphError, match="UTF-8"):
        list(read_triples(tmp_path / "x.tsv"))


def test_an_empty_file_is_an_empty_graph(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("\n")
    assert list(read_triples(tmp_path / "x.tsv")) == []


def test_aliases(tmp_path: Path) -> None:
    path = tmp_path / "aliases.tsv"
    path.write_text("Ada Lang\tA. Lang\nAda Lang\tLang\n")
    assert read_aliases(path) == {"Ada Lang": ["A. Lang", "Lang"]}
    path.write_text("Ada Lang\n")
    with pytest.raises(GraphError, match="row 1"):
        read_aliases(path)
