"""A graph behind a SPARQL 1.1 endpoint, read over HTTP with queries of limited size.

Entities are terms as SPARQL writes them (`<http://...>` or a literal), names are `rdfs:label`s or the end of an IRI.
Everything that goes into a query is escaped; everything that comes out is checked.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Sequence
from typing import Any

from reasonprune.errors import GraphError
from reasonprune.graph.store import Entity, GraphStats, Reach, Step, distinct, normalised, readable

LABEL = "<http://www.w3.org/2000/01/rdf-schema#label>"
BATCH = 50  # entities of one query
UNSAFE_IN_IRI = re.compile(r"[\x00-\x20<>\"{}|^`\\]")
KNOWN_NAMES = 100_000  # names kept
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class SparqlStore:
    """Raises GraphError naming the endpoint where it is unreachable, too slow, or does not answer in SPARQL's JSON."""

    def __init__(self, url: str, timeout_s: float = 10.0, spelled: Sequence[str] = ()) -> None:
        """`spelled`: language tags that labels may carry, beside none and `en`."""
        import httpx

        self._url = url
        self._client = httpx.Client(timeout=timeout_s, headers={"accept": "application/sparql-results+json"})
        self._tags = ("", "en", *spelled)
        self._names: dict[str, str] = {}
        self._relations: list[str] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        self._client.close()

    def select(self, query: str) -> list[dict[str, dict[str, str]]]:
        """The bindings of a SELECT query."""
        import httpx

        try:
            answer = self._client.post(self._url, data={"query": query})
            answer.raise_for_status()
            bindings = answer.json()["results"]["bindings"]
        except httpx.TimeoutException:
            raise GraphError(f"The SPARQL endpoint {self._url} did not answer in time.") from None
        except httpx.HTTPStatusError as error:
            code = error.response.status_code
            raise GraphError(f"The SPARQL endpoint {self._url} answered with status {code}.") from None
        except httpx.HTTPError as error:
            raise GraphError(f"The SPARQL endpoint {self._url} cannot be reached: {error}.") from None
        except (ValueError, KeyError, TypeError):
            raise GraphError(f"The SPARQL endpoint {self._url} did not answer in SPARQL's JSON format.") from None
        if not isinstance(bindings, list) or not all(isinstance(row, dict) for row in bindings):
            raise GraphError(f"The SPARQL endpoint {self._url} answered with malformed bindings.")
        return bindings

    def _terms(self, rows: list[dict[str, dict[str, str]]], variable: str) -> list[str]:
        return [term for row in rows if (term := self._term(row.get(variable))) is not None]

    def _term(self, value: Any) -> str | None:
        """A binding as SPARQL writes it; None for blank nodes, which no later query could name."""
        try:
            kind, text = value["type"], value["value"]
        except (TypeError, KeyError):
            raise GraphError(f"The SPARQL endpoint {self._url} answered with malformed bindings.") from None
        if kind == "uri":
            return f"<{text}>" if not UNSAFE_IN_IRI.search(text) else None
        if kind not in ("literal", "typed-literal"):
            return None
        written = '"' + "".join(ESCAPES.get(letter, letter) for letter in text) + '"'
        if language := value.get("xml:lang"):
            return f"{written}@{language}"
        datatype = value.get("datatype")
        return f"{written}^^<{datatype}>" if datatype and not UNSAFE_IN_IRI.search(datatype) else written

    def find(self, name: str) -> list[Entity]:
        if name.startswith(("http://", "https://")) and not UNSAFE_IN_IRI.search(name):
            return [f"<{name}>"]
        values = " ".join(self._labels(name))
        rows = self.select(f"SELECT DISTINCT ?e WHERE {{ VALUES ?name {{ {values} }} ?e {LABEL} ?name }} LIMIT 100")
        return list(self._terms(rows, "e"))

    def _labels(self, name: str) -> list[str]:
        spellings = dict.fromkeys([name, name.replace("_", " "), normalised(name), normalised(name).title()])
        quoted = ['"' + "".join(ESCAPES.get(letter, letter) for letter in one) + '"' for one in spellings]
        return [f"{one}@{tag}" if tag else one for one in quoted for tag in self._tags]

    def similar(self, text: str, limit: int) -> list[Entity]:
        """By the text's longest words; SPARQL has no index of words, so this reads the labels."""
        words = sorted({word for word in normalised(text).split() if len(word) > 3}, key=len, reverse=True)[:3]
        if not words:
            return []
        tests = " || ".join(
            f'CONTAINS(LCASE(STR(?name)), "{"".join(ESCAPES.get(letter, letter) for letter in word)}")'
            for word in words
        )
        rows = self.select(f"SELECT DISTINCT ?e WHERE {{ ?e {LABEL} ?name FILTER({tests}) }} LIMIT {limit}")
        return list(self._terms(rows, "e"))

    def name(self, entity: Entity) -> str:
        term = str(entity)
        if not term.startswith("<"):
            return _literal_text(term)
        with self._lock:
            if term in self._names:
                return self._names[term]
        rows = self.select(f"SELECT ?name WHERE {{ {term} {LABEL} ?name }} LIMIT 20")
        labels = [row["name"] for row in rows if "value" in row.get("name", {})]
        labels.sort(key=lambda label: (label.get("xml:lang", "") not in self._tags, label["value"]))
        name = labels[0]["value"] if labels else readable(term[1:-1])
        with self._lock:
            if len(self._names) >= KNOWN_NAMES:
                self._names.clear()
            self._names[term] = name
        return name

    def relations(self) -> Sequence[str]:
        """The endpoint's relations; where it cannot list them, none, and those met on the way are compared then."""
        if self._relations is None:
            found: list[str] = []
            with contextlib.suppress(GraphError):
                rows = self.select("SELECT DISTINCT ?p WHERE { ?s ?p ?o } LIMIT 500")
                found = [term[1:-1] for term in self._terms(rows, "p") if term != LABEL]
            self._relations = found
        return self._relations

    def steps(self, entities: Sequence[Entity], limit: int) -> set[Step]:
        found: set[Step] = set()
        for values in self._batches(entities[:limit]):
            forward = self.select(f"SELECT DISTINCT ?p WHERE {{ VALUES ?s {{ {values} }} ?s ?p ?o }} LIMIT 500")
            backward = self.select(f"SELECT DISTINCT ?p WHERE {{ VALUES ?o {{ {values} }} ?s ?p ?o }} LIMIT 500")
            for rows, inverse in ((forward, False), (backward, True)):
                found |= {Step(term[1:-1], inverse) for term in self._terms(rows, "p") if term != LABEL}
        return found

    def _batches(self, entities: Sequence[Entity]) -> list[str]:
        # Nothing follows from a literal, and matching one needs its exact form.
        terms = [str(entity) for entity in entities]
        return [" ".join(terms[at : at + BATCH]) for at in range(0, len(terms), BATCH)]

    def follow(self, entities: Sequence[Entity], step: Step, limit: int) -> Reach:
        if UNSAFE_IN_IRI.search(step.relation):
            return Reach(())
        pattern = f"?e <{step.relation}> ?s" if step.inverse else f"?s <{step.relation}> ?e"
        ends: list[Entity] = []
        for values in self._batches(entities):
            query = f"SELECT DISTINCT ?e WHERE {{ VALUES ?s {{ {values} }} {pattern} }} LIMIT {limit + 1}"
            ends += self._terms(self.select(query), "e")
            if len(ends) > limit:
                break
        return distinct(ends, limit)

    def edges(self, entity: Entity, limit: int) -> list[tuple[Step, Entity]]:
        steps = sorted(self.steps([entity], 1))
        share = max(1, limit // max(1, len(steps)))
        return [(step, end) for step in steps for end in self.follow([entity], step, share).entities][:limit]

    def stats(self) -> GraphStats:
        def count(query: str) -> int | None:
            try:
                return int(self.select(query)[0]["n"]["value"])
            except (GraphError, IndexError, KeyError, ValueError):
                return None

        return GraphStats(
            count("SELECT (COUNT(*) AS ?n) WHERE { ?s ?p ?o }"),
            count("SELECT (COUNT(DISTINCT ?s) AS ?n) WHERE { ?s ?p ?o }"),
            count("SELECT (COUNT(DISTINCT ?p) AS ?n) WHERE { ?s ?p ?o }"),
        )


def _literal_text(term: str) -> str:
    text = term[1 : term.rindex('"')]
    for letter, escape in reversed(ESCAPES.items()):
        text = text.replace(escape, letter)
    return text
