"""Another OpenAI-compatible server, spoken to over HTTP."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from reasonprune.errors import ModelError

KEY_VARIABLE = "REASONPRUNE_UPSTREAM_KEY"


class Server(NamedTuple):
    """Where an OpenAI-compatible server is. `model`: unset, the first that it lists."""

    url: str
    model: str | None = None
    key: str | None = None

    @classmethod
    def named(cls, url: str | None, model: str | None) -> Self | None:
        """The one of a command line, with the key of the environment; None where no URL is given."""
        return cls(url, model, os.environ.get(KEY_VARIABLE)) if url else None


class Upstream:
    """`url`: the server's base, with or without `/v1`. `model`: unset, the first that the server lists.

    Raises:
        ModelError: httpx is not installed, or the server does not answer, or not as one of its kind.
    """

    def __init__(self, url: str, model: str | None, api_key: str | None = None, timeout_s: float = 300) -> None:
        try:
            import httpx
        except ImportError:
            raise ModelError("--upstream needs httpx: pip install 'reasonprune[upstream]'.") from None
        self.base = url.rstrip("/").removesuffix("/v1") + "/v1"
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.AsyncClient(base_url=self.base, headers=headers, timeout=timeout_s)
        self._errors = httpx.HTTPError
        self.model = model

    async def __aenter__(self) -> Self:
        if self.model is None:
            listed = await self._call("GET", "/models")
            self.model = str(listed["data"][0]["id"])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> dict[str, Any]:
        """The answer of `/v1/chat/completions`."""
        return await self._call("POST", "/chat/completions", {"messages": list(messages), **options})

    async def complete(self, prompt: str, **options: Any) -> dict[str, Any]:
        """The answer of `/v1/completions`."""
        return await self._call("POST", "/completions", {"prompt": prompt, **options})

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if body is not None:
            body = {"model": self.model, **body}
        try:
            answer = await self._client.request(method, path, json=body)
        except self._errors as error:
            raise ModelError(f"The server {self.base} does not answer: {error!r}.") from None
        if answer.status_code != 200:
            raise ModelError(f"The server {self.base} answers {path} with {answer.status_code}: {answer.text[:300]}")
        try:
            return dict(answer.json())
        except (TypeError, ValueError):
            raise ModelError(f"The server {self.base} answers {path} with something that is no JSON object.") from None
