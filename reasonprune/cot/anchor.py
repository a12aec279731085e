"""ASAP's first two stages with a model that writes: a direct route from question and answer, and an extract along it.

The model only points: what it returns is checked section by section against the chain, and the chain's own steps are
taken in its place, never a paraphrase.
"""

from __future__ import annotations

from collections.abc import Sequence

from reasonprune.cot.backends import Backend
from reasonprune.cot.compressor import Chain
from reasonprune.cot.route import similarity
from reasonprune.cot.steps import Step, split_steps

ATTEMPTS = 5
ROUTE_TOKENS = 1024
ROUTE = """Here is a problem and its final answer.

Problem:
{question}

Answer:
{anchor}

Write the shortest complete derivation that leads from the problem to this answer, step by step, one step a paragraph, \
with no detours and no second thoughts. Write nothing else."""
EXTRACT = """Below are a direct derivation and a longer chain of thought for the same problem.

Derivation:
{route}

Chain of thought:
{chain}

Copy from the chain of thought the paragraphs that the derivation needs, word for word and in their order, separated \
by blank lines. Leave out detours, repetitions and dead ends. Change no word, add none, and write nothing else."""


def matched(chain: str, steps: Sequence[Step], extract: str) -> frozenset[int] | None:
    """Indices of the steps that `extract` was copied from; None where a section of it is nowhere to be found.

    As published: each section must resemble (Ratcliff-Obershelp, 0.6) some step after the one matched before.
    """
    found, behind = set[int](), -1
    for section in split_steps(extract):
        wanted = extract[section.start : section.end]
        ahead = range(behind + 1, len(steps))
        hit = next((i for i in ahead if similarity(chain[steps[i].start : steps[i].end], wanted) > 0), None)
        if hit is None:
            return None
        found.add(hit)
        behind = hit
    return frozenset(found) or None


async def written_route(chain: Chain, backend: Backend, attempts: int = ATTEMPTS) -> frozenset[int] | None:
    """Steps on the route that a model lays out; None where no attempt was a true extract of the chain.

    The first attempt is greedy, the others sample at rising temperature.
    """
    steps = split_steps(chain.text)
    ask = ROUTE.format(question=chain.question, anchor=chain.anchor)
    route = await backend.write([{"role": "user", "content": ask}], ROUTE_TOKENS, 0.0)
    ask = EXTRACT.format(route=route, chain=chain.text)
    tokens = len(chain.text) // 2 + 64  # more than any copy of it takes
    for attempt in range(attempts):
        extract = await backend.write([{"role": "user", "content": ask}], tokens, min(1.0, 0.3 * attempt))
        if (hits := matched(chain.text, steps, extract.strip())) is not None:
            return hits
    return None
