"""A SPARQL 1.1 endpoint on a real socket, and one that misbehaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote

import pytest

from reasonprune.graph.store import Triple

BASE = "http://example.org/"


def graph_of(triples: Sequence[Triple]) -> Any:
    rdflib = pytest.importorskip("rdflib")
    graph = rdflib.Graph()
    for triple in triples:
        head, tail = (rdflib.URIRef(BASE + quote(name)) for name in (triple.head, triple.tail))
        graph.add((head, rdflib.URIRef(BASE + triple.relation), tail))
        for node, name in ((head, triple.head), (tail, triple.tail)):
            graph.add((node, rdflib.RDFS.label, rdflib.Literal(name)))
    return graph


@contextmanager
def sparql_server(triples: Sequence[Triple]) -> Iterator[str]:
    graph, lock = graph_of(triples), threading.Lock()

    def answer(query: str) -> bytes:
        with lock:
            return graph.query(query).serialize(format="json")

    with _server(answer) as url:
        yield url


@contextmanager
def faulty_server(reply: bytes, status: int = 200, delay: float = 0.0) -> Iterator[str]:
    def answer(query: str) -> bytes:
        time.sleep(delay)
        return reply

    with _server(answer, status) as url:
        yield url


@contextmanager
def _server(answer: Any, status: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            reply = answer(parse_qs(body)["query"][0])
            try:
                self.send_response(status)
                self.send_header("content-type", "application/sparql-results+json")
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)
            except (BrokenPipeError, ConnectionResetError):
                return  # the client had waited long enough

        def log_message(self, *arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/sparql"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
