"""Which steps of a chain to leave out for a budget of tokens. Pure: scores come in, a report of every step goes out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reasonprune.cot.route import definitions, route_to
from reasonprune.cot.scores import StepScore, TokenScores, score_steps
from reasonprune.cot.steps import Step, split_steps
from reasonprune.errors import RequestError

Method = Literal["asap", "first_token_only", "perplexity", "random", "random_protected", "last_k", "none"]
METHODS: tuple[Method, ...] = (
    "asap",
    "first_token_only",
    "perplexity",
    "random",
    "random_protected",
    "last_k",
    "none",
)
PROTECTING: frozenset[Method] = frozenset({"asap", "random_protected"})
Protection = Literal["first step", "last step", "definition"]


@dataclass(frozen=True)
class Chain:
    """A chain of thought and what it answers: `anchor` is the visible answer, `question` the question's text."""

    text: str
    question: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class StepReport:
    """What became of one step. `score`: what it was ranked by, higher is kept longer; None where nothing is known."""

    step: Step
    tokens: int
    score: float | None
    on_route: bool
    kept: bool
    protected: Protection | None


@dataclass(frozen=True)
class Compression:
    """A compressed chain and its account; token counts are of the chain alone."""

    text: str
    tokens: int
    kept_tokens: int
    budget_tokens: int
    steps: tuple[StepReport, ...]
    source: str
    note: str | None = None

    @property
    def kept(self) -> float:
        """Share of the chain's tokens that is left."""
        return self.kept_tokens / self.tokens if self.tokens else 1.0

    @property
    def met(self) -> bool:
        return self.kept_tokens <= self.budget_tokens

    def as_json(self, chain: str) -> dict[str, Any]:
        """The report: what is left and, for every step that is not, its text and score."""
        return {
            "tokens": {"before": self.tokens, "after": self.kept_tokens, "budget": self.budget_tokens},
            "kept": round(self.kept, 4),
            "steps": {"before": len(self.steps), "after": sum(report.kept for report in self.steps)},
            "scored_by": self.source,
            "removed": [
                {
                    "step": index,
                    "text": chain[report.step.start : report.step.end].strip(),
                    "tokens": report.tokens,
                    "score": None if report.score is None else round(report.score, 4),
                    "on_route": report.on_route,
                }
                for index, report in enumerate(self.steps)
                if not report.kept
            ],
            **({"note": self.note} if self.note else {}),
        }


def budget_tokens(budget: float, tokens: int) -> int:
    """A budget up to 1 is a share of `tokens`, above 1 a number of tokens. Raises RequestError for any other."""
    if budget <= 0 or (budget > 1 and budget != int(budget)):
        raise RequestError(
            f"budget is {budget:g}; give a share of the chain's tokens (above 0, at most 1) or a whole number of tokens"
            " (above 1).",
            "budget",
        )
    return int(budget * tokens + 1e-9) if budget <= 1 else int(budget)


@dataclass(frozen=True)
class Candidates:
    """A chain ready to be shortened: what protects its steps, and in which order the others go."""

    steps: tuple[Step, ...]
    tokens: tuple[int, ...]
    scores: tuple[float | None, ...]
    route: frozenset[int]
    protected: dict[int, Protection]
    order: tuple[int, ...]
    source: str


def candidates(
    chain: Chain, scores: TokenScores, method: Method, seed: int = 0, route: frozenset[int] | None = None
) -> Candidates:
    """Everything `compress` needs but the budget. `route` replaces the one found from the visible answer."""
    steps = tuple(split_steps(chain.text))
    scored = score_steps(steps, scores)
    if route is None:
        route = route_to(chain.text, steps, chain.anchor, chain.question) if method == "asap" else frozenset()
    protected = _protected(chain.text, steps) if method in PROTECTING else {}
    ranks = _ranks(method, scored, seed)
    free = [index for index in range(len(steps)) if index not in protected]

    def key(index: int) -> tuple[bool, float, int]:
        rank = ranks[index]
        return index in route, float("inf") if rank is None else rank, index

    order = () if method == "none" else tuple(sorted(free, key=key))
    return Candidates(steps, tuple(s.tokens for s in scored), tuple(ranks), route, protected, order, scores.source)


def _protected(text: str, steps: Sequence[Step]) -> dict[int, Protection]:
    protected: dict[int, Protection] = dict.fromkeys(definitions(text, steps), "definition")
    if steps:
        protected |= {0: "first step"}
        protected |= {len(steps) - 1: "last step"}
    return protected


def _ranks(method: Method, scored: Sequence[StepScore], seed: int) -> list[float | None]:
    """By which steps are removed, ascending; a step of which nothing is known goes last."""
    by_method: dict[Method, Callable[[], list[float | None]]] = {
        "asap": lambda: [score.surprisal for score in scored],
        "first_token_only": lambda: [score.surprisal for score in scored],
        "perplexity": lambda: [score.mean for score in scored],
        "last_k": lambda: [float(index) for index in range(len(scored))],
        "none": lambda: [None for _ in scored],
    }
    if method in by_method:
        return by_method[method]()
    rng = random.Random(f"{seed}:{','.join(str(score.tokens) for score in scored)}")
    return [rng.random() for _ in scored]


def compress(
    chain: Chain,
    scores: TokenScores,
    budget: float,
    method: Method = "asap",
    seed: int = 0,
    route: frozenset[int] | None = None,
) -> Compression:
    """Leaves steps out in ascending order of surprisal, those off the direct route first, until the budget is met.

    Steps are removed by index and survivors keep their order and their very text. `asap` protects the first step, the
    last step and definitions; a budget below these is not met, and `note` says what could be reached. At least one
    step stays, whatever the method.
    """
    found = candidates(chain, scores, method, seed, route)
    allowed = budget_tokens(budget, sum(found.tokens))
    removed: set[int] = set()
    left = sum(found.tokens)
    for index in found.order:
        if left <= allowed or len(removed) + 1 == len(found.steps):
            break
        removed.add(index)
        left -= found.tokens[index]
    return report(chain, found, removed, allowed)


def report(chain: Chain, found: Candidates, removed: set[int] | frozenset[int], allowed: int) -> Compression:
    """The chain without the steps in `removed`, and what became of each step."""
    reports = tuple(
        StepReport(
            step,
            found.tokens[index],
            found.scores[index],
            index in found.route,
            index not in removed,
            found.protected.get(index),
        )
        for index, step in enumerate(found.steps)
    )
    total, left = sum(found.tokens), sum(r.tokens for r in reports if r.kept)
    return Compression(
        kept_text(chain.text, reports), total, left, allowed, reports, found.source, _note(found, left, allowed)
    )


def kept_text(text: str, reports: Sequence[StepReport]) -> str:
    """The kept steps one after the other; the white space at the chain's end stays as it was."""
    if all(report.kept for report in reports):
        return text
    body = "".join(text[report.step.start : report.step.end] for report in reports if report.kept)
    return body.rstrip() + text[len(text.rstrip()) :]


def _note(found: Candidates, left: int, allowed: int) -> str | None:
    if len(found.steps) < 2:
        return "the chain is one step (a paragraph, a fence or a formula), of which nothing can be left out"
    if left <= allowed or not (found.order or found.protected):
        return None
    if not found.protected:
        return f"the budget of {allowed} tokens is below the shortest that one step leaves; reached {left}"
    kinds = sorted(set(found.protected.values()))
    return f"the budget of {allowed} tokens is below what is protected ({', '.join(kinds)}); reached {left}"
