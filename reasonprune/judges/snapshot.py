"""What a judge sees of a trace, and the two truncations of DeepPrune (arXiv 2510.08483)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

# Words that open a turn of thought. The paper's own list was not published.
REASONING_WORDS = (
    *("wait", "but", "so", "thus", "since", "therefore", "hence", "because", "then", "now", "first", "second", "next"),
    *("finally", "alternatively", "however", "let", "suppose", "assume", "check", "verify", "maybe", "perhaps", "hmm"),
    *("actually", "instead", "if"),
)
_REASONING_WORD = re.compile(rf"\b(?:{'|'.join(REASONING_WORDS)})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A trace at one moment. `answer` is the equivalence class of a trace that has ended, else None."""

    trace: int
    tokens: int
    text: str
    question: str = ""
    token_ids: tuple[int, ...] = ()
    ended: bool = False
    answer: str | None = None


def first_tokens(snapshot: Snapshot, tokens: int) -> Snapshot:
    """The trace at `tokens` tokens. Its text is cut in proportion, since not all tokens' texts are known."""
    if tokens >= snapshot.tokens:
        return snapshot
    return _cut(snapshot, tokens, round(len(snapshot.text) * tokens / snapshot.tokens))


def first_words(snapshot: Snapshot, words: int) -> Snapshot:
    """The trace up to its reasoning word number `words`, which is left out; all of it where there are fewer."""
    for count, match in enumerate(_REASONING_WORD.finditer(snapshot.text), 1):
        if count == words:
            return _cut(snapshot, snapshot.tokens * match.start() // len(snapshot.text), match.start())
    return snapshot


def _cut(snapshot: Snapshot, tokens: int, chars: int) -> Snapshot:
    text, ids = snapshot.text[:chars], snapshot.token_ids[:tokens]
    return replace(snapshot, tokens=tokens, text=text, token_ids=ids, ended=False, answer=None)
