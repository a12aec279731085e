"""Any OpenAI-compatible server that returns log-probabilities of its prompt (`echo`): vLLM, SGLang, llama.cpp, ..."""

from __future__ import annotations

from typing import Any

from reasonprune.answers import extract_answer
from reasonprune.cot.backends import Messages
from reasonprune.cot.chats import plain_text
from reasonprune.cot.scores import TokenScores, from_token_texts
from reasonprune.engine.upstream import Upstream
from reasonprune.errors import ScoreError

ANSWER_TOKENS = 16
CLOSING = "\n\nThe final answer is \\boxed{"


class UpstreamBackend(Upstream):
    """The chat template stays on the server's side, so chains are scored after the plain text of the conversation."""

    async def score(self, messages: Messages, opening: str, text: str) -> TokenScores:
        prompt = transcript(messages) + opening + text
        answer = await self.complete(prompt, max_tokens=1, temperature=0, echo=True, logprobs=1)
        logprobs = answer["choices"][0].get("logprobs") or {}
        tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
        if not tokens or not values or len(tokens) < 2 or all(value is None for value in values):
            raise ScoreError(
                f"The server {self.base} returns no log-probabilities of its prompt (completions with"
                " `echo` and `logprobs`). Use one that does, such as vLLM, or a model on this machine (--model)."
            )
        return from_token_texts(text, tokens, values, "upstream")

    async def write(self, messages: Messages, max_tokens: int, temperature: float) -> str:
        answer = await self.chat(messages, max_tokens=max_tokens, temperature=temperature)
        return str(answer["choices"][0]["message"]["content"] or "")

    async def answer(self, messages: Messages, text: str) -> str | None:
        prompt = transcript(messages) + text + CLOSING
        answer = await self.complete(prompt, max_tokens=ANSWER_TOKENS, temperature=0, stop=["}"])
        return extract_answer("\\boxed{" + str(answer["choices"][0]["text"]) + "}", "boxed")

    async def tokenizer(self) -> Any:
        return None


def transcript(messages: Messages) -> str:
    """A conversation as plain text, for completions without a chat template."""
    return "".join(f"{plain_text(message.get('content'))}\n\n" for message in messages)
