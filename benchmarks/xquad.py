"""XQuAD's paragraphs with their questions, for the benchmarks that ask them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """A question, and the texts that answer it."""

    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of an article, and what is asked about it."""

    text: str
    asked: tuple[Asked, ...]


def paragraphs(data: Path) -> list[Paragraph]:
    """All paragraphs of a file in SQuAD's shape, article after article."""
    articles = json.loads(data.read_text(encoding="utf-8"))["data"]
    return [
        Paragraph(
            paragraph["context"],
            tuple(
                Asked(qa["question"], tuple(dict.fromkeys(answer["text"] for answer in qa["answers"])))
                for qa in paragraph["qas"]
            ),
        )
        for article in articles
        for paragraph in article["paragraphs"]
    ]
