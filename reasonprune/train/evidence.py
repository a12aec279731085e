"""Questions with the sentences that answer them, from the usual sets and from any file in our own shape.

What can be read: SQuAD's JSON (also XQuAD), SelQA's JSON (`selqa-ass-*.json`), the two files `src-NAME.txt` and
`tgt-NAME.txt` of question generation (a sentence a line, and a question it answers), and JSON Lines of
`{"question", "context", "spans": [[start, end], ...], "group"}` with character offsets, or `{"question", "sentences",
"labels", "group"}`. Several spans make multi-sentence evidence; none at all says that the context has no answer.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonprune.errors import DataError
from reasonprune.pruner.sentences import from_sentences, split

LONGEST_SECTION = 6
"""Sentences of a section that stay around the answer; whole sections of SelQA can have over a hundred."""


@dataclass(frozen=True)
class Evidence:
    """A question, a context as the sentences that make it up when joined, and which of them answer it.

    `group` names the article: hard negatives are taken from the same, and splits never cut through one.
    """

    question: str
    sentences: tuple[str, ...]
    labels: tuple[bool, ...]
    group: str

    def __post_init__(self) -> None:
        assert len(self.sentences) == len(self.labels)

    @property
    def context(self) -> str:
        return "".join(self.sentences)


def read_evidence(path: Path) -> list[Evidence]:
    """Everything in the file, whichever shape it has. Raises DataError naming what is wrong."""
    try:
        if path.suffix == ".txt":
            return list(_parallel(path))
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            return [_row(path, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        whole = json.loads(text)
        return list(_squad(whole) if isinstance(whole, dict) else _selqa(path, whole))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not evidence: expected SQuAD's or SelQA's JSON, src-*.txt beside tgt-*.txt, or JSON Lines with"
            f" question, context and spans ({type(error).__name__}: {error})."
        ) from None


def read_questions(path: Path) -> list[Evidence]:
    """As `read_evidence`, but rows of JSON Lines need neither spans nor labels: nothing is marked in them then.

    Raises DataError naming what is wrong; also where there is no question with a context.
    """
    if path.suffix != ".jsonl":
        found = read_evidence(path)
    else:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read: {error}.") from None
        found = [_row(path, i, line, labelled=False) for i, line in enumerate(lines, 1) if line.strip()]
    found = [example for example in found if example.question.strip() and example.context.strip()]
    if not found:
        raise DataError(f"{path} holds no questions with contexts.")
    return found


def marked(question: str, context: str, spans: Iterable[Sequence[int]], group: str) -> Evidence:
    """Labels by overlap with `spans` of characters. Raises ValueError for a span outside the context."""
    wanted = [(int(start), int(end)) for start, end in spans]
    if any(not 0 <= start < end <= len(context) for start, end in wanted):
        raise ValueError(f"a span is not within the {len(context)} characters of its context")
    units = split(context)
    labels = tuple(any(u.start < end and start < u.end for start, end in wanted) for u in units)
    return Evidence(question, tuple(context[u.start : u.end] for u in units), labels, group)


def _squad(whole: dict[str, Any]) -> Iterator[Evidence]:
    for article in whole["data"]:
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            for qa in paragraph["qas"]:
                spans = [(a["answer_start"], a["answer_start"] + len(a["text"])) for a in qa["answers"][:1]]
                yield marked(qa["question"], context, spans, str(article.get("title", "")))


def _selqa(path: Path, rows: list[dict[str, Any]]) -> Iterator[Evidence]:
    rng = random.Random(0)
    for row in rows:
        answers, count = set(row["answers"]), len(row["candidates"])
        sentences = [sentence.strip() + " " for sentence in row["candidates"]]
        first, last = (min(answers), max(answers)) if answers else (0, 0)
        slack = max(0, LONGEST_SECTION - (last - first + 1))
        begin = max(0, min(first - rng.randint(0, slack), count - LONGEST_SECTION))
        end = max(begin + LONGEST_SECTION, last + 1)
        labels = tuple(i in answers for i in range(count))
        yield Evidence(row["question"], tuple(sentences[begin:end]), labels[begin:end], f"selqa:{row['article']}")


def _parallel(path: Path) -> Iterator[Evidence]:
    """Contexts are runs of the sentences that follow each other in the file, which is in the articles' order."""
    if not path.name.startswith("src-"):
        raise ValueError("name the file with the sentences, src-*.txt")
    sources = path.read_text(encoding="utf-8").splitlines()
    questions = path.with_name("tgt-" + path.name.removeprefix("src-")).read_text(encoding="utf-8").splitlines()
    distinct = list(dict.fromkeys(sources))
    rng, place = random.Random(0), {}
    begin = 0
    while begin < len(distinct):
        width = rng.randint(3, 7)
        for at in range(begin, min(begin + width, len(distinct))):
            place[distinct[at]] = (at, begin, min(begin + width, len(distinct)))
        begin += width
    plain = [untokenized(sentence) + " " for sentence in distinct]
    for source, question in zip(sources, questions, strict=True):
        at, begin, end = place[source]
        labels = tuple(i == at for i in range(begin, end))
        # Articles are not marked in the file; stretches of it stand in for them.
        yield Evidence(untokenized(question), tuple(plain[begin:end]), labels, f"{path.stem}:{at // 60}")


def untokenized(text: str) -> str:
    """Undoes what the Penn Treebank's tokens change for a word piece tokenizer."""
    for token, plain in (("-lrb-", "("), ("-rrb-", ")"), ("``", '"'), ("''", '"'), (" n't", "n't"), (" 's", "'s")):
        text = text.replace(token, plain)
    return re.sub(r" ([.,;:?!)%])", r"\1", text.strip()).replace("( ", "(")


def _row(path: Path, number: int, line: str, labelled: bool = True) -> Evidence:
    try:
        row = json.loads(line)
        if not labelled:
            row = {"spans": [], "labels": [False] * len(row.get("sentences", ())), **row}
        group = str(row.get("group", f"{path.stem}:{number}"))
        if "sentences" not in row:
            return marked(row["question"], row["context"], row["spans"], group)
        _, units = from_sentences(row["sentences"])
        if len(units) != len(row["labels"]):
            raise ValueError("as many labels as sentences are needed")
        return Evidence(row["question"], tuple(row["sentences"]), tuple(map(bool, row["labels"])), group)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}, line {number}: {type(error).__name__}: {error}.") from None


def by_group(examples: Iterable[Evidence]) -> dict[str, list[Evidence]]:
    groups: dict[str, list[Evidence]] = defaultdict(list)
    for example in examples:
        groups[example.group].append(example)
    return dict(groups)


def held_out(groups: Sequence[str], share: float, seed: int) -> set[str]:
    """The groups set aside: a random `share` of them, at least one, the same for the same seed."""
    ordered = sorted(set(groups))
    return set(random.Random(seed).sample(ordered, max(1, round(share * len(ordered)))))
