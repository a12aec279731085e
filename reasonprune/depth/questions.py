"""Questions as layer programs are measured on them: what the model is asked, and when its text is right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from reasonprune.answers import AnswerClasses, extract_answer
from reasonprune.bench.dataset import Question

CHOICES = re.compile(r"Answer format: answer1(?:/answer\d)+\s*$")
OPENING = "The correct answer is answer"  # the model's next token is the number of its choice
CHOICE_TOKENS = 1


@dataclass(frozen=True)
class Asked:
    """A question as token ids; `tokens`: most that its answer may take; `opening`: how the answer was begun for it."""

    question: Question
    prompt: dict[str, Any]
    tokens: int
    opening: str = ""


def ask(engine: Any, question: Question, model: str, max_tokens: int) -> Asked:
    """Multiple choice is answered by one token, as in the paper's zero-shot runs; all else is reasoned out."""
    from reasonprune.engine.offline import chat_prompt

    if not CHOICES.search(question.question):
        return Asked(question, chat_prompt(engine, question.question, model), max_tokens)
    messages = [{"role": "user", "content": question.question}]
    tokenizer = engine.get_tokenizer()
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) + OPENING
    ids = tokenizer.encode(text, add_special_tokens=False)
    return Asked(question, {"type": "token", "prompt_token_ids": list(ids)}, CHOICE_TOKENS, OPENING)


def answer_of(asked: Asked, text: str, classes: AnswerClasses) -> str | None:
    """What the text that followed the prompt answers; equal answers are equal strings."""
    if asked.opening:
        return text.strip()[:1] or None
    found = extract_answer(text)
    return classes.add(found) if found is not None else None


def gold_of(asked: Asked, classes: AnswerClasses) -> str:
    """The right answer, as `answer_of` writes it."""
    gold = asked.question.gold
    return gold.strip()[-1:] if asked.opening else classes.add(gold)
