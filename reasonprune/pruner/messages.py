"""Finds in a chat request what may be pruned, and puts it back: tool results, documents, long contexts of the user.

Pure: a request body goes in, texts come out, and a new body is made of them. The question, system texts, answers of
the assistant, and anything shorter than asked for are never touched.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DOCUMENT = re.compile(r"(<document\b[^>]*>)(.*?)(</document>)", re.DOTALL | re.IGNORECASE)
PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
INSTRUCTION = re.compile(r"[:：]\s*$")
USER_CONTEXT = 4
"""A user's own text counts as a context where it is this many times as long as what is pruned at all."""

Step = str | int
Path = tuple[Step, ...]


@dataclass(frozen=True)
class Passage:
    """A text that may be pruned: `text[start:end]` of the string at `path` in the request.

    `inner` is the path within that string where the string itself is JSON.
    """

    path: Path
    start: int
    end: int
    text: str
    inner: Path | None = None

    @property
    def where(self) -> str:
        """As it is named to the user: `messages[2].content`, `documents[0].text`."""
        steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in (*self.path, *(self.inner or ()))]
        return "".join(steps).removeprefix(".")


@dataclass(frozen=True)
class Found:
    """What may be pruned, and the question it is judged by (None: there is none)."""

    question: str | None
    passages: list[Passage]


def find(body: Mapping[str, Any], from_characters: int, user_text: bool = True) -> Found:
    """All passages of at least `from_characters`. The question is the last message of the user, contexts left out."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return Found(None, [])
    passages = [*_documents(body.get("documents"))]
    question: str | None = None
    last = max((i for i, m in enumerate(messages) if _role(m) == "user"), default=None)
    for i, message in enumerate(messages):
        for path, text in _texts(message, ("messages", i)):
            if _role(message) == "tool":
                passages += _tool(path, text, from_characters)
            elif _role(message) == "user":
                own = list(_marked(path, text))
                asked = DOCUMENT.sub(" ", text).strip()
                if i == last and not own and user_text and len(text) >= USER_CONTEXT * from_characters:
                    asked, own = _split_user_text(path, text)
                if i == last and asked:
                    question = f"{question}\n{asked}" if question else asked
                passages += own
    long_enough = [p for p in passages if len(p.text) >= from_characters and p.text.strip()]
    return Found(question, long_enough)


def replaced(body: Mapping[str, Any], passages: Sequence[Passage], texts: Sequence[str]) -> dict[str, Any]:
    """A copy of the body with `texts` in the places of the passages."""
    changed = copy.deepcopy(dict(body))
    by_path: dict[Path, list[tuple[Passage, str]]] = {}
    for passage, text in zip(passages, texts, strict=True):
        by_path.setdefault(passage.path, []).append((passage, text))
    for path, pairs in by_path.items():
        whole = _get(changed, path)
        if pairs[0][0].inner is not None:
            value = json.loads(whole)
            for passage, text in pairs:
                value = _with(value, passage.inner or (), text)
            whole = json.dumps(value, ensure_ascii=False)
        else:
            for passage, text in sorted(pairs, key=lambda pair: -pair[0].start):
                whole = whole[: passage.start] + text + whole[passage.end :]
        _with(changed, path, whole)
    return changed


def _role(message: Any) -> str | None:
    role = message.get("role") if isinstance(message, dict) else None
    return role if isinstance(role, str) else None


def _texts(message: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """The texts of a message: its content, or the text parts of it."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        yield (*path, "content"), content
    elif isinstance(content, list):
        for i, part in enumerate(content):
            if isinstance(part, dict) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
                yield (*path, "content", i, "text"), part["text"]


def _documents(documents: Any) -> Iterator[Passage]:
    """vLLM's `documents` field: a list of objects, whose long strings are text, content or the like."""
    for i, document in enumerate(documents if isinstance(documents, list) else []):
        if isinstance(document, str):
            yield Passage(("documents", i), 0, len(document), document)
        elif isinstance(document, dict):
            for path, text in _strings(document, ("documents", i)):
                yield Passage(path, 0, len(text), text)


def _tool(path: Path, text: str, from_characters: int) -> Iterator[Passage]:
    """A tool's result; of JSON only its long strings, so that it stays JSON."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        marked = list(_marked(path, text))
        yield from marked or [Passage(path, 0, len(text), text)]
        return
    if isinstance(value, (dict, list)):
        for inner, string in _strings(value, ()):
            if len(string) >= from_characters:
                yield Passage(path, 0, len(text), string, inner)


def _strings(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """All strings within nested objects and lists that are texts: those with white space in them."""
    if isinstance(value, str):
        if len(value.split()) > 1:
            yield path, value
    elif isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(inner, (*path, key))


def _marked(path: Path, text: str) -> Iterator[Passage]:
    for match in DOCUMENT.finditer(text):
        yield Passage(path, match.start(2), match.end(2), match[2])


def _split_user_text(path: Path, text: str) -> tuple[str, list[Passage]]:
    """The question in a long message, and the paragraphs around it; all is question where none can be told apart.

    The question is the last paragraph with a question mark, or else the last paragraph, where that is short. The
    longest stretch of paragraphs on one side of it is the context; a paragraph that ends in a colon announces, and
    stays out of it.
    """
    spans = _paragraphs(text)
    marks = [i for i, (a, b) in enumerate(spans) if "?" in text[a:b] or "？" in text[a:b] or "؟" in text[a:b]]
    short = [i for i in marks if spans[i][1] - spans[i][0] <= len(text) / 4]
    if short and short[-1] in (0, len(spans) - 1):
        at = short[-1]
    elif spans and spans[-1][1] - spans[-1][0] <= len(text) / 4:
        at = len(spans) - 1
    else:
        return text, []
    rest = spans[:at] or spans[at + 1 :]
    while rest and INSTRUCTION.search(text[slice(*rest[0])]):
        rest = rest[1:]
    if not rest:
        return text, []
    start, end = rest[0][0], rest[-1][1]
    return text[slice(*spans[at])], [Passage(path, start, end, text[start:end])]


def _paragraphs(text: str) -> list[tuple[int, int]]:
    spans, begin = [], 0
    for match in PARAGRAPH.finditer(text):
        spans.append((begin, match.start()))
        begin = match.end()
    spans.append((begin, len(text)))
    return [(a, b) for a, b in spans if text[a:b].strip()]


def _get(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _with(value: Any, path: Path, new: Any) -> Any:
    """`value` with `new` at `path`, changed in place but for the empty path."""
    if not path:
        return new
    _get(value, path[:-1])[path[-1]] = new
    return value
