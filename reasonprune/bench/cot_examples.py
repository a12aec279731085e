"""Chains of thought to compress, from recorded traces: whole, or cut before the step that first states the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reasonprune.answers import AnswerClasses, MathChecker, canonical, extract_answer
from reasonprune.cot.compressor import Chain
from reasonprune.cot.located import locate, token_starts
from reasonprune.cot.route import numbers, results, route_to
from reasonprune.cot.scores import TokenScores, check_fingerprint
from reasonprune.cot.steps import split_steps


@dataclass(frozen=True)
class Example:
    """A question with its full chain; `prompt` are the tokens before the chain, `answer` is what the chain answers."""

    question: str
    gold: str
    answer: str
    prompt: tuple[int, ...]
    chain: Chain
    scores: TokenScores
    opening: str
    route: frozenset[int] | None = None


def example_of(row: dict[str, Any], tokenizer: Any, name: str, checker: MathChecker) -> Example | None:
    """The example of a recorded question; None where no trace of it ended with an answer.

    `name`: the tokenizer's fingerprint. Raises ScoreError where another one recorded the log-probabilities.
    """
    classes = AnswerClasses(checker)
    gold = classes.add(row["gold"])
    ended = [t for t in row["traces"] if t["finish_reason"] == "stop" and extract_answer(t["text"]) is not None]
    ended.sort(key=lambda t: classes.add(extract_answer(t["text"]) or "") != gold)  # stable: the first right one
    if not ended:
        return None
    trace = ended[0]
    check_fingerprint(row.get("tokenizer"), name, f"the chain of {row['question'][:40]!r}")
    text = trace["text"]
    found = locate(text)
    starts = token_starts(tokenizer, trace["token_ids"], text)
    if starts is None or found.start == found.end:
        return None
    inside = [
        (start, p) for start, p in zip(starts, trace["logprobs"], strict=False) if found.start <= start < found.end
    ]
    scores = TokenScores(tuple(start - found.start for start, _ in inside), tuple(p for _, p in inside), "recorded")
    return Example(
        question=row["question"],
        gold=row["gold"],
        answer=extract_answer(text) or "",
        prompt=tuple(row["prompt_token_ids"]),
        chain=Chain(text[found.start : found.end], row["question"], found.anchor),
        scores=scores,
        opening=text[: found.start],
    )


def states(text: str, answer: str) -> bool:
    """Whether `answer` stands in `text`, as a number where it is one."""
    form = canonical(answer).lstrip("-")
    return form in numbers(text) or (not form[:1].isdigit() and answer in text)


def withheld(example: Example) -> Example | None:
    """The chain before the step that first states the answer; None where fewer than two steps are left of it."""
    text, answer = example.chain.text, canonical(example.answer).lstrip("-")
    steps = split_steps(text)
    given = answer in numbers(example.question)

    def says(part: str) -> bool:
        return answer in results(part) or (not given and states(part, example.answer))

    index = next((i for i, step in enumerate(steps) if says(text[step.start : step.end])), 0)
    cut = steps[index].start
    if index < 2 or len(split_steps(text[:cut])) != index:
        return None
    route = route_to(text, steps, example.chain.anchor, example.question)
    count = sum(start < cut for start in example.scores.starts)
    return Example(
        question=example.question,
        gold=example.gold,
        answer=example.answer,
        prompt=example.prompt,
        chain=Chain(text[:cut].rstrip(), example.question, example.chain.anchor),
        scores=TokenScores(example.scores.starts[:count], example.scores.logprobs[:count], "recorded"),
        opening=example.opening,
        route=frozenset(i for i in route if i < index),
    )
