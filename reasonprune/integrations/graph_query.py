"""What both retrievers share: a question to a graph in this process, or to a server's `/v1/graph/query`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from reasonprune.errors import GraphError
from reasonprune.options import GraphOptions


class GraphQuery:
    """`graph` is a file of triples or a store made by `kg load`; or `url` a server's, and `store` its graph's name."""

    def __init__(
        self, graph: str | None = None, url: str | None = None, store: str = "graph", api_key: str = "", **options: Any
    ) -> None:
        """`options`: any key of the request field `graph`."""
        if (graph is None) == (url is None):
            raise ValueError("give one of graph (a file) and url (a server)")
        self._graph, self._url, self._api_key = graph, url, api_key
        self._options = GraphOptions(store=store, **options)
        self._pipeline: Any = None

    def __call__(self, question: str) -> dict[str, Any]:
        """The JSON of `/v1/graph/query`. Raises GraphError."""
        return self._remote(question) if self._url is not None else self._local(question)

    def _local(self, question: str) -> dict[str, Any]:
        from reasonprune.graph.pipeline import PathsOverGraph
        from reasonprune.graph.stores import open_path
        from reasonprune.sentence_encoder import shared_encoder

        if self._pipeline is None:
            assert self._graph is not None, "checked at the start"
            self._pipeline = PathsOverGraph(open_path(Path(self._graph)), shared_encoder(), in_threads=False)
        answer = self._pipeline.answer(question, self._options)
        # Without a model and threads nothing in it waits, so it also runs where a loop is running already.
        try:
            answer.send(None)
        except StopIteration as done:
            return done.value.as_json()
        answer.close()
        raise AssertionError("an answer without a model does not wait")

    def _remote(self, question: str) -> dict[str, Any]:
        import httpx

        headers = {"authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        body = {"question": question, **self._options.model_dump(exclude_unset=True)}
        try:
            answer = httpx.post(f"{self._url}/v1/graph/query", json=body, headers=headers, timeout=120)
            result = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise GraphError(f"{self._url}/v1/graph/query failed: {error}.") from None
        if answer.status_code != 200:
            message = result.get("error", {}).get("message") if isinstance(result, dict) else None
            raise GraphError(f"{self._url}/v1/graph/query: {message or answer.status_code}")
        return result

    async def later(self, question: str) -> dict[str, Any]:
        """The same without blocking the event loop."""
        return await asyncio.to_thread(self, question)


def texts(result: dict[str, Any]) -> list[tuple[str, dict[str, Any], float]]:
    """The paths of a result: text, metadata and score of each."""
    found = []
    for at, path in enumerate(result["paths"]):
        answers = [answer["name"] for answer in result["answers"] if answer["path"] == at]
        found.append((path["text"], {"answers": answers, "steps": path["steps"]}, path["score"]))
    return found
