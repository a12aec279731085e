"""An endpoint that fails is named, and what it holds cannot break out of a query."""

from __future__ import annotations

import json

import pytest
from sparql_server import faulty_server, sparql_server

from reasonprune.errors import GraphError
from reasonprune.graph.sparql import SparqlStore
from reasonprune.graph.store import Step, Triple


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        (b"<html>busy</html>", 200, "JSON format"),
        (b'{"results": {}}', 200, "JSON format"),
        (b'{"results": {"bindings": [1]}}', 200, "malformed"),
        (json.dumps({"results": {"bindings": [{"e": {"type": "uri"}}]}}).encode(), 200, "malformed"),
        (b"", 503, "status 503"),
    ],
)
def test_faulty_answers(reply: bytes, status: int, words: str) -> None:
    with faulty_server(reply, status) as url, pytest.raises(GraphError, match=words):
        SparqlStore(url).find("x")


def test_a_slow_endpoint() -> None:
    with faulty_server(b"{}", delay=0.5) as url, pytest.raises(GraphError, match="in time"):
        SparqlStore(url, timeout_s=0.1).find("x")


def test_nobody_there() -> None:
    with pytest.raises(GraphError, match="cannot be reached"):
        SparqlStore("http://127.0.0.1:9/sparql").find("x")


def test_names_cannot_break_out_of_a_query() -> None:
    name = 'x" } ; DROP ALL # \\'
    with sparql_server([Triple(name, "r", "y")]) as url:
        store = SparqlStore(url)
        (entity,) = store.find(name)
        assert store.name(entity) == name
        assert store.follow([entity], Step("http://example.org/r> ?x . } #"), 5).entities == ()
