"""A vLLM engine in this process, or the server's own, as the model behind ASAP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from itertools import count
from types import TracebackType
from typing import Any

from reasonprune.cot.backends import Messages
from reasonprune.cot.located import token_starts
from reasonprune.cot.scores import TokenScores
from reasonprune.engine.chat import prompt_ids
from reasonprune.errors import ScoreError
from reasonprune.models import resolve

PROBE_TOKENS = 16


class EngineBackend:
    """Asks an engine client. `salt` keeps its prefixes apart from those of others, as vLLM's `cache_salt` does."""

    def __init__(self, engine: Any, name: str = "asap", salt: str | None = None) -> None:
        self._engine = engine
        self._name = name
        self._salt = salt
        self._numbers = count()

    async def engine(self) -> Any:
        return self._engine

    async def tokenizer(self) -> Any:
        return (await self.engine()).get_tokenizer()

    async def score(self, messages: Messages, opening: str, text: str) -> TokenScores:
        from reasonprune.engine.prompt_logprobs import continuation_logprobs

        engine, tokenizer = await self.engine(), await self.tokenizer()
        prompt = prompt_ids(tokenizer, messages)
        written = opening + text
        ids = tokenizer.encode(written, add_special_tokens=False)
        starts = token_starts(tokenizer, ids, written)
        if starts is None:
            raise ScoreError(
                "The model's tokenizer does not give the chain back as it was; it cannot be scored with it."
            )
        room(engine, len(prompt) + len(ids))
        logprobs = await continuation_logprobs(engine, prompt, ids, self._request(), None, self._salt)
        inside = [(start - len(opening), p) for start, p in zip(starts, logprobs, strict=True) if start >= len(opening)]
        return TokenScores(tuple(start for start, _ in inside), tuple(p for _, p in inside), "engine")

    async def write(self, messages: Messages, max_tokens: int, temperature: float) -> str:
        from reasonprune.engine.offline import sampling

        engine, tokenizer = await self.engine(), await self.tokenizer()
        ids = prompt_ids(tokenizer, messages)
        params = sampling(temperature, 1.0, min(max_tokens, room(engine, len(ids))), None)
        final = None
        async for output in engine.generate({"type": "token", "prompt_token_ids": ids}, params, self._request()):
            final = output.outputs[0]
        assert final is not None, "the engine ends every request with an output"
        return str(final.text)

    async def answer(self, messages: Messages, text: str) -> str | None:
        from reasonprune.engine.probe import Prober

        engine, tokenizer = await self.engine(), await self.tokenizer()
        prober = Prober.of(tokenizer, PROBE_TOKENS)
        ids = tokenizer.encode(text, add_special_tokens=False)
        prompt = {"prompt_token_ids": prompt_ids(tokenizer, messages)}
        room(engine, len(prompt["prompt_token_ids"]) + len(ids) + PROBE_TOKENS + len(prober.suffix_in_thought))
        return (await prober.force(engine, prompt, ids, text, self._request(), {})).answer

    def _request(self) -> str:
        return f"{self._name}-{next(self._numbers)}"


class LocalBackend(EngineBackend):
    """The engine of a MODEL, started when it is first needed: recorded chains need no more than its tokenizer."""

    def __init__(self, model: str, **overrides: Any) -> None:
        super().__init__(None)
        self._model = model
        self._overrides: Mapping[str, Any] = overrides
        self._stack = AsyncExitStack()
        self._starting = asyncio.Lock()
        self._loaded: Any = None

    async def __aenter__(self) -> LocalBackend:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self._engine = None

    async def engine(self) -> Any:
        async with self._starting:
            if self._engine is None:
                from reasonprune.engine.offline import open_engine

                self._engine = await self._stack.enter_async_context(open_engine(self._model, **self._overrides))
        return self._engine

    async def tokenizer(self) -> Any:
        if self._engine is not None:
            return self._engine.get_tokenizer()
        if self._loaded is None:
            from transformers import AutoTokenizer

            self._loaded = AutoTokenizer.from_pretrained(resolve(self._model).path)
        return self._loaded


def room(engine: Any, tokens: int) -> int:
    """How many tokens fit after `tokens`, at least one; raises ScoreError where none does."""
    limit = int(engine.model_config.max_model_len)
    if tokens >= limit:
        raise ScoreError(f"The chain and what comes before it have {tokens} tokens; the model takes {limit}.")
    return limit - tokens
