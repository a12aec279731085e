"""Chains of thought in rows of data sets: found in the usual chat shapes, and put back shortened, all else untouched.

| shape | chain | answer |
|---|---|---|
| `messages`, assistant with `reasoning` or `reasoning_content` | that field | `content` |
| `messages` or `conversations` (`from`, `value`) | between think tags in the text | what follows them |
| a question and `reasoning`, `cot`, `chain`, `thought`, `thinking` or `rationale` | that field | `answer`, ... |
| a question and `response`, `completion`, `generation`, `output`, `solution`, `text` or `answer` | as in `messages` | |
| a pool of `reasonprune record` | each trace's text, likewise | |

A text without think tags is a chain as a whole, unless only marked reasoning is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reasonprune.cot.compressor import Chain
from reasonprune.cot.located import OPEN, locate

QUESTION_KEYS = ("question", "problem", "instruction", "prompt", "input", "query")
REASONING_KEYS = ("reasoning", "reasoning_content", "cot", "chain", "thought", "thinking", "rationale")
ANSWER_KEYS = ("final_answer", "answer", "response", "output")
TEXT_KEYS = ("response", "completion", "generation", "output", "solution", "text", "answer")
ROLES = {"human": "user", "gpt": "assistant", "model": "assistant"}


@dataclass(frozen=True)
class Recorded:
    """Log-probabilities that came with a chain: as token texts, or as ids of the tokenizer with this fingerprint."""

    logprobs: Sequence[float | None]
    tokens: Sequence[str] | None = None
    token_ids: Sequence[int] | None = None
    tokenizer: str | None = None


@dataclass
class Found:
    """A chain in a row, what was said before it, and the place where it stands: `target[key][start:end]`."""

    chain: Chain
    messages: list[dict[str, str]]
    target: MutableMapping[str, Any] = field(repr=False)
    key: str
    start: int
    end: int
    opening: str
    recorded: Recorded | None = None

    @property
    def text(self) -> str:
        """All that was generated, as far as it stands in the same field."""
        return str(self.target[self.key])

    def put(self, chain: str) -> None:
        """Replaces the chain in the row."""
        text = self.text
        self.target[self.key] = text[: self.start] + chain + text[self.end :]


def chains_in(row: MutableMapping[str, Any], marked_only: bool = False) -> list[Found]:
    """The chains of a row in order; none where nothing in it is known as one."""
    for key in ("messages", "conversations"):
        if isinstance(row.get(key), list):
            return [found for _, found in turns_in(row[key], marked_only)]
    question = next((str(row[key]) for key in QUESTION_KEYS if isinstance(row.get(key), str) and row[key]), "")
    before = [{"role": "user", "content": question}] if question else []
    if isinstance(row.get("traces"), list):
        traces = [trace for trace in row["traces"] if isinstance(trace, dict)]
        found = (_in_text(trace, "text", before, marked_only, _of_trace(row, trace)) for trace in traces)
        return [chain for chain in found if chain]
    recorded = _of_openai(row)
    for key in REASONING_KEYS:
        if isinstance(row.get(key), str) and row[key].strip():
            anchor = next((str(row[k]) for k in ANSWER_KEYS if row.get(k) is not None), "")
            return [_whole(row, key, before, anchor, recorded)]
    for key in TEXT_KEYS:
        if chain := _in_text(row, key, before, marked_only, recorded):
            return [chain]
    return []


def turns_in(turns: Sequence[Any], marked_only: bool = False) -> Iterator[tuple[int, Found]]:
    """The chains of a conversation's assistant turns with the turns' indices."""
    before: list[dict[str, str]] = []
    for index, turn in enumerate(turns):
        if not isinstance(turn, dict):
            continue
        role = turn.get("role") or turn.get("from") or "user"
        role = ROLES.get(role, role)
        key = "value" if "value" in turn and "content" not in turn else "content"
        text = plain_text(turn.get(key))
        if role == "assistant":
            recorded = _of_openai(turn)
            reasoning = next((k for k in REASONING_KEYS[:2] if isinstance(turn.get(k), str) and turn[k].strip()), None)
            if reasoning is not None:
                yield index, _whole(turn, reasoning, list(before), text, recorded)
            elif found := _in_text(turn, key, list(before), marked_only, recorded):
                yield index, found
        before.append({"role": role, "content": text})


def plain_text(content: Any) -> str:
    """The text of a message's content, which may be a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _question_of(messages: Sequence[dict[str, str]]) -> str:
    return next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")


def _whole(
    target: MutableMapping[str, Any],
    key: str,
    before: list[dict[str, str]],
    anchor: str,
    recorded: Recorded | None,
) -> Found:
    text = target[key]
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    chain = Chain(text[start:end], _question_of(before), anchor)
    return Found(chain, before, target, key, start, end, f"{OPEN}\n", recorded)


def _in_text(
    target: MutableMapping[str, Any],
    key: str,
    before: list[dict[str, str]],
    marked_only: bool,
    recorded: Recorded | None,
) -> Found | None:
    text = target.get(key)
    if not isinstance(text, str):
        return None
    place = locate(text)
    if place.start >= place.end or (marked_only and not place.marked):
        return None
    chain = Chain(text[place.start : place.end], _question_of(before), place.anchor)
    return Found(chain, before, target, key, place.start, place.end, text[: place.start], recorded)


def _of_openai(holder: MutableMapping[str, Any]) -> Recorded | None:
    """`logprobs` as OpenAI's chat API gives them, or `tokens` or `token_ids` with a list of `logprobs`."""
    logprobs = holder.get("logprobs")
    if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
        rows = [entry for entry in logprobs["content"] if isinstance(entry, dict)]
        return Recorded([entry.get("logprob") for entry in rows], tokens=[str(entry.get("token")) for entry in rows])
    if not isinstance(logprobs, list):
        return None
    tokens, ids = holder.get("tokens"), holder.get("token_ids")
    if isinstance(tokens, list):
        return Recorded(logprobs, tokens=[str(token) for token in tokens])
    return Recorded(logprobs, token_ids=ids, tokenizer=holder.get("tokenizer")) if isinstance(ids, list) else None


def _of_trace(row: MutableMapping[str, Any], trace: MutableMapping[str, Any]) -> Recorded | None:
    ids, logprobs = trace.get("token_ids"), trace.get("logprobs")
    if not isinstance(ids, list) or not isinstance(logprobs, list):
        return None
    return Recorded(logprobs, token_ids=ids, tokenizer=row.get("tokenizer"))
