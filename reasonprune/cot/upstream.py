"""Any OpenAI-compatible server that returns log-probabilities of its prompt (`echo`): vLLM, SGLang, llama.cpp, ..."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from reasonprune.answers import extract_answer
from reasonprune.cot.backends import Messages
from reasonprune.cot.chats import plain_text
from reasonprune.cot.scores import TokenScores, from_token_texts
from reasonprune.errors import ModelError, ScoreError

ANSWER_TOKENS = 16
CLOSING = "\n\nThe final answer is \\boxed{"


class UpstreamBackend:
    """`url`: the server's base, with or without `/v1`. The chat template stays on the server's side, so chains are
    scored after the plain text of the conversation."""

    def __init__(self, url: str, model: str | None, api_key: str | None = None, timeout_s: float = 300) -> None:
        try:
            import httpx
        except ImportError:
            raise ModelError("--upstream needs httpx: pip install 'reasonprune[upstream]'.") from None
        base = url.rstrip("/").removesuffix("/v1") + "/v1"
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._base = base
        self._client = httpx.AsyncClient(base_url=base, headers=headers, timeout=timeout_s)
        self._errors = httpx.HTTPError
        self._model = model

    async def __aenter__(self) -> UpstreamBackend:
        if self._model is None:
            listed = await self._call("GET", "/models")
            self._model = str(listed["data"][0]["id"])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def score(self, messages: Messages, opening: str, text: str) -> TokenScores:
        prompt = transcript(messages) + opening + text
        body = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
        answer = await self._call("POST", "/completions", {"model": self._model, **body})
        logprobs = answer["choices"][0].get("logprobs") or {}
        tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
        if not tokens or not values or len(tokens) < 2 or all(value is None for value in values):
            raise ScoreError(
                f"The server {self._base} returns no log-probabilities of its prompt (completions with"
                " `echo` and `logprobs`). Use one that does, such as vLLM, or a model on this machine (--model)."
            )
        return from_token_texts(text, tokens, values, "upstream")

    async def write(self, messages: Messages, max_tokens: int, temperature: float) -> str:
        body = {"messages": list(messages), "max_tokens": max_tokens, "temperature": temperature}
        answer = await self._call("POST", "/chat/completions", {"model": self._model, **body})
        return str(answer["choices"][0]["message"]["content"] or "")

    async def answer(self, messages: Messages, text: str) -> str | None:
        prompt = transcript(messages) + text + CLOSING
        body = {"prompt": prompt, "max_tokens": ANSWER_TOKENS, "temperature": 0, "stop": ["}"]}
        answer = await self._call("POST", "/completions", {"model": self._model, **body})
        return extract_answer("\\boxed{" + str(answer["choices"][0]["text"]) + "}", "boxed")

    async def tokenizer(self) -> Any:
        return None

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            answer = await self._client.request(method, path, json=body)
        except self._errors as error:
            raise ModelError(f"The server {self._base} does not answer: {error!r}.") from None
        if answer.status_code != 200:
            raise ModelError(f"The server {self._base} answers {path} with {answer.status_code}: {answer.text[:300]}")
        try:
            return answer.json()
        except ValueError:
            raise ModelError(f"The server {self._base} answers {path} with something that is no JSON.") from None


def transcript(messages: Messages) -> str:
    """A conversation as plain text, for completions without a chat template."""
    return "".join(f"{plain_text(message.get('content'))}\n\n" for message in messages)
