"""What an LLM is asked when it labels sentences, and what its reply says: the sentences that an answer rests on.

The idea is Provence's (arXiv 2501.16214): a model that answers and cites what it used marks more of it than one that is
asked for relevant sentences. Sentences are numbered from 1, so that a number that stands for nothing shows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

NO_ANSWER = "No answer"
Outcome = Literal["cited", "unanswered", "uncited", "invalid"]
"""What came of a reply. `cited`: it answers from these sentences. `unanswered`: they do not answer the question.

Discarded are `uncited`: an answer that names no sentence; and `invalid`: numbers of no sentence, brackets that hold
more than numbers, or citations beside the words that there is no answer.
"""

BRACKETS = re.compile(r"\[([^\[\]]*)\]")
NUMBERS = re.compile(r"\s*\d{1,9}(?:\s*,\s*\d{1,9})*\s*")
PROMPT = """\
Answer the question in one or two sentences, using nothing but the numbered sentences below. After every statement, \
put the numbers of all sentences that it rests on in square brackets, like [3] or [1][4]. Cite each sentence that you \
needed, and no other. If the sentences do not contain the answer, reply with these two words only: {no_answer}.

Question: {question}

{sentences}"""


@dataclass(frozen=True)
class Citations:
    """A reply as it was read; `labels` by sentence, none where it is discarded."""

    outcome: Outcome
    labels: tuple[bool, ...] | None


def prompt(question: str, sentences: Sequence[str]) -> str:
    """The instruction with every sentence on a line of its own behind its number."""
    numbered = "\n".join(f"[{i}] {' '.join(sentence.split())}" for i, sentence in enumerate(sentences, 1))
    return PROMPT.format(no_answer=NO_ANSWER, question=question, sentences=numbered)


def read_reply(reply: str, count: int) -> Citations:
    """What a reply says of `count` sentences. Brackets without a digit, such as [sic], are part of the answer."""
    marks = [inside for inside in BRACKETS.findall(reply) if any(map(str.isdecimal, inside))]
    refused = reply.strip().strip(".\"'*").casefold().startswith(NO_ANSWER.casefold())
    if any(not NUMBERS.fullmatch(mark) for mark in marks):
        return Citations("invalid", None)
    cited = {int(number) for mark in marks for number in mark.split(",")}
    if not cited:
        return Citations("unanswered", (False,) * count) if refused else Citations("uncited", None)
    if refused or not cited <= set(range(1, count + 1)):
        return Citations("invalid", None)
    return Citations("cited", tuple(i in cited for i in range(1, count + 1)))
