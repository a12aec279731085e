"""How surprising the tokens of a chain are, and from them the steps; where the figures come from is told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from reasonprune.cot.steps import Step
from reasonprune.errors import ScoreError

Source = Literal["recorded", "engine", "upstream"]


@dataclass(frozen=True)
class TokenScores:
    """The tokens of one chain. `starts`: where each begins in the chain, in characters, not descending; `logprobs`:
    natural logarithm of p(token | question, all before it), None where it is not known."""

    starts: tuple[int, ...]
    logprobs: tuple[float | None, ...]
    source: Source

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.logprobs):
            raise ScoreError(
                f"The chain has {len(self.starts)} tokens, but {len(self.logprobs)} log-probabilities were given;"
                " both must come from the same text and tokenizer."
            )
        if any(before > after for before, after in pairwise(self.starts)):
            raise ScoreError("The tokens of the chain are not in order.")


@dataclass(frozen=True)
class StepScore:
    """`surprisal`: -log p of the step's first token (arXiv 2508.05988); `mean`: of all its tokens, per token; both in
    nats, None where not known. `tokens`: how many begin in the step."""

    tokens: int
    surprisal: float | None
    mean: float | None


def score_steps(steps: Sequence[Step], scores: TokenScores) -> list[StepScore]:
    """Tokens and surprisal of every step. A list mark is not counted as a step's first token, the first word is."""
    scored, at = [], 0
    following = (*scores.starts[1:], float("inf"))
    for step in steps:
        begin = at
        while at < len(scores.starts) and scores.starts[at] < step.end:
            at += 1
        # The token that holds the first character of the content: the blank before a word may be part of it.
        holds = (i for i in range(begin, at) if scores.starts[i] >= step.content or following[i] > step.content)
        first = next(holds, None)
        known = [logprob for logprob in scores.logprobs[begin:at] if logprob is not None]
        logprob = scores.logprobs[first] if first is not None else None
        scored.append(
            StepScore(
                tokens=at - begin,
                surprisal=None if logprob is None else -logprob,
                mean=-sum(known) / len(known) if known else None,
            )
        )
    return scored


def from_token_texts(text: str, tokens: Sequence[str], logprobs: Sequence[float | None], source: Source) -> TokenScores:
    """Scores from tokens as text, the shape of OpenAI's `logprobs`. Raises ScoreError where they do not spell `text`.

    What stands around `text` (a template before it, an end mark after it) is left out.
    """
    if len(tokens) != len(logprobs):
        raise ScoreError(f"{len(tokens)} tokens came with {len(logprobs)} log-probabilities.")
    whole = "".join(tokens)
    offset = whole.rfind(text)
    if offset < 0 or not text:
        raise ScoreError(
            "The recorded tokens do not spell the chain: they come from another text, or from a tokenizer whose tokens"
            " are parts of characters. Record again, or let the model score the chain."
        )
    starts, kept, position = [], [], -offset
    for token, logprob in zip(tokens, logprobs, strict=True):
        if 0 <= position < len(text) or (position < 0 < position + len(token)):
            starts.append(max(0, position))
            kept.append(logprob)
        position += len(token)
    return TokenScores(tuple(starts), tuple(kept), source)


def fingerprint(tokenizer: Any) -> str:
    """Names a tokenizer by its vocabulary: equal where ids mean the same tokens. 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for token, number in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1]):
        digest.update(f"{number}\t{token}\n".encode())
    return digest.hexdigest()[:16]


def check_fingerprint(recorded: str | None, expected: str, where: str) -> None:
    """Raises ScoreError where log-probabilities were recorded by another tokenizer, or do not say by which."""
    if recorded == expected:
        return
    by = f"by the tokenizer {recorded}" if recorded else "by a tokenizer that is not named"
    raise ScoreError(
        f"{where}: the log-probabilities were recorded {by}, but the model's is {expected}. Score the chains with the"
        " model instead (leave `tokenizer` and `logprobs` out), or name the model that recorded them."
    )
