"""Arithmetic word chains with written-out solutions: what TinyReasoner learns from.

A problem is a start number and a list of operations applied from left to right. A solution is written in one of three
styles that differ in length and in how often a small model gets them wrong, so that parallel traces of one problem
differ in both, as those of a large reasoning model do.
"""

from __future__ import annotations

import random
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

Operator = Literal["+", "-", "*"]
Style = Literal["direct", "careful", "check"]

VERB: dict[Operator, str] = {"+": "add", "-": "subtract", "*": "multiply by"}
STYLES: tuple[Style, ...] = ("direct", "careful", "check")
STYLE_WEIGHTS = (0.4, 0.35, 0.25)
LEVELS = (1, 2, 3, 4, 5)
HARDEST = 6  # longer than anything in training; for test problems


@dataclass(frozen=True)
class Problem:
    """A start number and what is done to it, from left to right; `level` 1 to 6 is its difficulty."""

    start: int
    operations: tuple[tuple[Operator, int], ...]
    level: int

    @property
    def question(self) -> str:
        chain = ", ".join(f"{VERB[op]} {operand}" for op, operand in self.operations)
        return f"Start with {self.start}, {chain}. What do you get?"

    @property
    def answer(self) -> int:
        value = self.start
        for op, operand in self.operations:
            value = apply(op, value, operand)
        return value


def apply(op: Operator, left: int, right: int) -> int:
    if op == "+":
        return left + right
    return left - right if op == "-" else left * right


def sample_problem(rng: random.Random, level: int | None = None) -> Problem:
    """A problem of `level` 1 (two small sums) to 6 (seven operations, three products); of 1 to 5 when None."""
    level = level or rng.choice(LEVELS)
    length = (2, 2, 3, 4, 5, 7)[level - 1]
    products = (0, 1, 1, 1, 2, 3)[level - 1]
    product_at = set(rng.sample(range(length), products))
    start = rng.randint(2, (60, 40, 90, 99, 99, 99)[level - 1])
    value, operations = start, []
    for position in range(length):
        if position in product_at:
            # Products above five digits would make the operand size, not the reasoning, the difficulty.
            limit = 9 if level < 4 or abs(value) > 99 else 29
            op: Operator = "*"
            operand = rng.randint(2, limit if abs(value) < 1000 else 3)
        else:
            op = "-" if rng.random() < 0.5 else "+"
            operand = rng.randint(2, (60, 90, 400, 900, 900, 900)[level - 1])
            if op == "-" and operand > value:
                op = "+"
        value = apply(op, value, operand)
        operations.append((op, operand))
    return Problem(start, tuple(operations), level)


def slip(rng: random.Random, value: int) -> int:
    """`value` as somebody in a hurry would get it: one digit off by one, or ten."""
    return max(0, value + rng.choice((-10, -1, 1, 10, -2, 2, 100)))


class Writer:
    """Writes one solution; carries a slipped result on, as a real chain of thought does."""

    def __init__(self, rng: random.Random, slip_rate: float) -> None:
        self._rng = rng
        self._slip_rate = slip_rate
        self.slips = 0

    def compute(self, op: Operator, left: int, right: int) -> int:
        value = apply(op, left, right)
        if self._rng.random() >= self._slip_rate:
            return value
        self.slips += 1
        return slip(self._rng, value)

    def direct(self, op: Operator, left: int, right: int) -> tuple[str, int]:
        value = self.compute(op, left, right)
        return f"{left}{op}{right}={value}.", value

    def careful(self, op: Operator, left: int, right: int) -> tuple[str, int]:
        """Splits a product by the places of its left factor; sums stay whole."""
        if op != "*" or left < 10:
            return self.direct(op, left, right)
        total, parts = 0, list[str]()
        digits = str(left)
        for place, digit in enumerate(digits):
            if digit == "0":
                continue
            piece = int(digit) * 10 ** (len(digits) - place - 1)
            product = self.compute("*", piece, right)
            first = not parts
            parts.append(f"{piece}*{right}={product}")
            if not first:
                total_next = self.compute("+", total, product)
                parts.append(f"{total}+{product}={total_next}")
                total = total_next
            else:
                total = product
        return f"{left}*{right}: {', '.join(parts)}, so {left}*{right}={total}.", total

    def chain(self, problem: Problem, write: str) -> tuple[list[str], int]:
        value, steps = problem.start, []
        for op, operand in problem.operations:
            step, value = getattr(self, write)(op, value, operand)
            steps.append(step)
        return steps, value


def sample_solution(rng: random.Random, problem: Problem, slip_rate: float, style: Style | None = None) -> str:
    """A written-out solution, right or (by `slip_rate` per computation) wrong, ending in a boxed answer."""
    style = style or rng.choices(STYLES, STYLE_WEIGHTS)[0]
    writer = Writer(rng, slip_rate)
    if style == "check":
        return written(*_checked(writer, problem, *writer.chain(problem, "direct")))
    return written(*writer.chain(problem, style))


def sample_hesitant_solution(rng: random.Random, problem: Problem, slip_rate: float) -> str:
    """A solution that is checked more often when something went wrong: doubt makes a chain of thought long.

    As with large reasoning models, traces that finish early are then right more often than those that finish late.
    """
    writer = Writer(rng, slip_rate)
    steps, value = writer.chain(problem, "careful" if rng.random() < 0.55 else "direct")
    if rng.random() < (0.6 if writer.slips else 0.1):
        steps, value = _checked(writer, problem, steps, value)
    return written(steps, value)


def _checked(writer: Writer, problem: Problem, steps: list[str], guess: int) -> tuple[list[str], int]:
    again, value = writer.chain(problem, "careful")
    verdict = "It is the same." if guess == value else f"I had {guess}, now I have {value}."
    return [*steps, "Wait, let me check.", *again, verdict], value


def written(steps: list[str], value: int) -> str:
    """Steps and value as TinyReasoner writes them."""
    thought = "\n\n".join(steps)
    return f"<think>\n{thought}\n</think>\n\nThe answer is \\boxed{{{value}}}."


def sample_problems(
    seed: int, count: int, levels: Sequence[int] = LEVELS, unlike: Container[str] = ()
) -> list[Problem]:
    """`count` distinct problems whose questions are not in `unlike`; the levels in turn, the same for the same seed."""
    rng = random.Random(seed)
    seen: dict[str, Problem] = {}
    while len(seen) < count:
        problem = sample_problem(rng, levels[len(seen) % len(levels)])
        if problem.question not in unlike:
            seen.setdefault(problem.question, problem)
    return list(seen.values())
