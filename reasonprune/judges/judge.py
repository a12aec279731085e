"""The interface of all judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reasonprune.judges.snapshot import Snapshot

Pair = tuple[Snapshot, Snapshot]


@dataclass(frozen=True, slots=True)
class Judgement:
    """`similarities`: the probability of the same final answer, 0 to 1, pair by pair.

    `generated` and `prompted` are tokens that a language model wrote and read for it.
    """

    similarities: list[float]
    generated: int = 0
    prompted: int = 0


class PairJudge(Protocol):
    """Judges pairs of traces of one question, in batches. What it computes of one trace it keeps for the next call."""

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        """Similarities in the order of `pairs`. May raise anything: it costs a request its judge, not its answer."""
        ...


def known(pair: Pair) -> float | None:
    """The similarity of two traces that have both ended, None where that is still to be judged."""
    first, second = pair
    if not (first.ended and second.ended):
        return None
    return float(first.answer is not None and first.answer == second.answer)
