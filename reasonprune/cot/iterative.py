"""ASAP's iterative mode: the chain is scored anew after every step that is left out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from reasonprune.cot.compressor import Candidates, Chain, Compression, Method, budget_tokens, candidates, report
from reasonprune.cot.scores import TokenScores, score_steps
from reasonprune.cot.steps import Step


async def compress_iteratively(
    chain: Chain,
    score: Callable[[str], Awaitable[TokenScores]],
    budget: float,
    method: Method = "asap",
    route: frozenset[int] | None = None,
    first: TokenScores | None = None,
) -> Compression:
    """As `compress`, with one pass of `score` for every step removed; a step reports the score it was removed by.

    `first`: scores of the whole chain, where they are known already.
    """
    found = candidates(chain, first or await score(chain.text), method, route=route)
    allowed = budget_tokens(budget, sum(found.tokens))
    ranks = list(found.scores)
    removed: set[int] = set()
    free = set(found.order)
    while free and len(removed) + 1 < len(found.steps):
        if sum(tokens for index, tokens in enumerate(found.tokens) if index not in removed) <= allowed:
            break
        if removed:
            await _rescore(chain, found, removed, ranks, method, score)
        worst = min(free, key=lambda index: (index in found.route, _last_if_none(ranks[index]), index))
        free.remove(worst)
        removed.add(worst)
    return report(chain, _with(found, ranks), removed, allowed)


def _last_if_none(rank: float | None) -> float:
    return float("inf") if rank is None else rank


def _with(found: Candidates, ranks: list[float | None]) -> Candidates:
    fields = {**vars(found), "scores": tuple(ranks)}
    return Candidates(**fields)


async def _rescore(
    chain: Chain,
    found: Candidates,
    removed: set[int],
    ranks: list[float | None],
    method: Method,
    score: Callable[[str], Awaitable[TokenScores]],
) -> None:
    """New ranks of the steps that are left, in the text that is left."""
    left = [index for index in range(len(found.steps)) if index not in removed]
    shifted, at, parts = list[Step](), 0, list[str]()
    for index in left:
        step = found.steps[index]
        parts.append(chain.text[step.start : step.end])
        shifted.append(Step(at, at + len(parts[-1]), at + step.content - step.start))
        at += len(parts[-1])
    scored = score_steps(shifted, await score("".join(parts)))
    for index, value in zip(left, scored, strict=True):
        ranks[index] = value.mean if method == "perplexity" else value.surprisal
