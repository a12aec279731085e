"""The shapes in which questions and contexts come, and results go back: those that users of OpenProvence know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reasonprune.errors import RequestError

Structure = Literal["str", "list", "aligned", "nested"]
SHAPES = (
    "question: str with context: str (one document); question: str with context: list[str] (documents for one"
    " question) or list[list[str]] (documents already split into sentences); question: list[str] with context:"
    " list[str] of the same length (pairs) or a list of such lists, one a question"
)


@dataclass(frozen=True)
class Inputs:
    """Questions, and for each of them its documents: a text, or sentences split by the caller."""

    questions: list[str]
    documents: list[list[str | list[str]]]
    structure: Structure


def normalized(question: Any, context: Any) -> Inputs:
    """Raises RequestError naming what does not fit, and which shape was probably meant."""
    questions = [question] if isinstance(question, str) else _strings(question, "question")
    if not questions:
        raise RequestError("question is an empty list; give at least one question.", "question")
    for i, text in enumerate(questions):
        if not text.strip():
            where = "question" if isinstance(question, str) else f"question[{i}]"
            raise RequestError(f"{where} is empty; without a question nothing can be judged relevant.", where)
    if isinstance(context, str):
        if len(questions) != 1:
            raise RequestError(
                f"question is a list and context one string; give a list of {len(questions)} contexts, or one question"
                " as a string.",
                "context",
            )
        return Inputs(questions, [[context]], "str")
    if not _is_list(context):
        raise RequestError(f"context is {type(context).__name__}, not text. Known shapes: {SHAPES}.", "context")
    if len(questions) == 1:
        return Inputs(questions, [[_document(d, f"context[{i}]") for i, d in enumerate(context)]], "list")
    if len(context) != len(questions):
        raise RequestError(
            f"question holds {len(questions)} and context {len(context)} items; lists are taken as pairs. For one"
            " question with many documents, give question as a string, not as a list.",
            "context",
        )
    if all(isinstance(document, str) for document in context):
        return Inputs(questions, [[document] for document in context], "aligned")
    if not all(map(_is_list, context)):
        raise RequestError("context mixes strings with lists; give either one text or a list a question.", "context")
    documents = [[_document(d, f"context[{q}][{i}]") for i, d in enumerate(inner)] for q, inner in enumerate(context)]
    return Inputs(questions, documents, "nested")


def shaped(values: list[list[Any]], structure: Structure) -> Any:
    """Results by question and document, in the shape the context came in."""
    if structure == "str":
        return values[0][0]
    if structure == "list":
        return values[0]
    return [inner[0] for inner in values] if structure == "aligned" else values


def titles_of(title: Any, inputs: Inputs) -> list[list[str | None]]:
    """A title, or None, for every document. `title` follows the shape of the context; one string serves all."""
    counts = [len(documents) for documents in inputs.documents]
    if title is None or isinstance(title, str):
        return [[title] * count for count in counts]
    if not _is_list(title):
        raise RequestError(f"title is {type(title).__name__}; give a string, a list of strings, or None.", "title")
    given: list[list[Any]]
    if inputs.structure in ("str", "list"):
        given = [list(title)]
    elif inputs.structure == "aligned":
        given = [[one] for one in title]
    else:
        given = [list(one) if _is_list(one) else [one] * count for one, count in zip(title, counts, strict=False)]
    if [len(one) for one in given] != counts:
        raise RequestError("title must have one entry for every document of context.", "title")
    if not all(one is None or isinstance(one, str) for inner in given for one in inner):
        raise RequestError("title must hold strings.", "title")
    return given


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _strings(value: Any, name: str) -> list[str]:
    if not _is_list(value):
        raise RequestError(f"{name} is {type(value).__name__}, not text. Known shapes: {SHAPES}.", name)
    for i, text in enumerate(value):
        if not isinstance(text, str):
            raise RequestError(f"{name}[{i}] is {type(text).__name__}, not a string.", f"{name}[{i}]")
    return list(value)


def _document(value: Any, name: str) -> str | list[str]:
    if isinstance(value, str):
        return value
    if not _is_list(value):
        raise RequestError(f"{name} is {type(value).__name__}, not a string or a list of sentences.", name)
    for i, sentence in enumerate(value):
        if not isinstance(sentence, str):
            hint = " With several questions, give question as a list." if _is_list(sentence) else ""
            raise RequestError(
                f"{name}[{i}] is {type(sentence).__name__}; an inner list holds the sentences of one document.{hint}",
                f"{name}[{i}]",
            )
    return list(value)
