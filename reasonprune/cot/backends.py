"""What scores a chain where nothing was recorded, and writes where a stage of ASAP asks a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from reasonprune.cot.chats import Found, Recorded
from reasonprune.cot.located import token_starts
from reasonprune.cot.scores import TokenScores, check_fingerprint, fingerprint, from_token_texts
from reasonprune.errors import ScoreError

Messages = Sequence[Mapping[str, Any]]


class Backend(Protocol):
    """A model that can be asked for log-probabilities and for text."""

    async def score(self, messages: Messages, opening: str, text: str) -> TokenScores:
        """Scores of `text`, written by the assistant after `messages` and `opening` (such as a think tag).

        Raises ScoreError where this model gives no log-probabilities of a prompt.
        """

    async def write(self, messages: Messages, max_tokens: int, temperature: float) -> str:
        """The assistant's next turn."""

    async def answer(self, messages: Messages, text: str) -> str | None:
        """The answer that the assistant gives at once after having written `text`; None where it gives none."""

    async def tokenizer(self) -> Any:
        """The model's tokenizer, None where it is not at hand."""


class NoBackend:
    """Only recorded log-probabilities, spelled as text."""

    async def score(self, messages: Messages, opening: str, text: str) -> TokenScores:
        raise ScoreError(
            "The chain came without log-probabilities. Name a model to score it (--model), or a server that returns"
            " log-probabilities of prompts (--upstream)."
        )

    async def write(self, messages: Messages, max_tokens: int, temperature: float) -> str:
        raise ScoreError("This needs a model that writes: name one with --model or --upstream.")

    async def answer(self, messages: Messages, text: str) -> str | None:
        raise ScoreError("This needs a model that answers: name one with --model or --upstream.")

    async def tokenizer(self) -> Any:
        return None


async def scores_of(found: Found, backend: Backend, where: str) -> TokenScores:
    """From the recording where the chain came with one, else by a pass of the backend.

    Raises ScoreError where another tokenizer recorded them, or they are of another text.
    """
    if found.recorded is None:
        return await backend.score(found.messages, found.opening, found.chain.text)
    if found.recorded.tokens is not None:
        return from_token_texts(found.chain.text, found.recorded.tokens, found.recorded.logprobs, "recorded")
    tokenizer = await backend.tokenizer()
    if tokenizer is None:
        raise ScoreError(f"{where}: the log-probabilities were recorded with token ids; name their model with --model.")
    check_fingerprint(found.recorded.tokenizer, fingerprint(tokenizer), where)
    return _from_ids(found, found.recorded, tokenizer, where)


def _from_ids(found: Found, recorded: Recorded, tokenizer: Any, where: str) -> TokenScores:
    starts = token_starts(tokenizer, recorded.token_ids or (), found.text)
    if starts is None or len(starts) > len(recorded.logprobs):
        raise ScoreError(f"{where}: the recorded tokens do not spell the text that they came with; record again.")
    logprobs = zip(starts, recorded.logprobs, strict=False)  # the end mark has no start
    inside = [(start - found.start, p) for start, p in logprobs if found.start <= start < found.end]
    return TokenScores(tuple(start for start, _ in inside), tuple(p for _, p in inside), "recorded")
