"""Forced answers as a judge: two traces agree if what they answer now is equivalent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from reasonprune.judges.judge import Judgement, Pair
from reasonprune.judges.snapshot import Snapshot

Forced = tuple[str | None, int]  # the answer's class, and the tokens generated for it


class ProbeJudge:
    """`force` makes a running trace answer; each trace is forced once at each length.

    An answer that a finished trace also gave is a trace's own in nearly every case; that of two running traces says
    little (benchmarks/README.md), so a pair in which nobody has ended is best judged late.
    """

    def __init__(self, force: Callable[[Snapshot], Awaitable[Forced]]) -> None:
        self._force = force
        self._answers: dict[int, tuple[int, str | None]] = {}  # trace -> its length and answer there

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        snapshots = {snapshot.trace: snapshot for pair in pairs for snapshot in pair}
        fresh = [s for s in snapshots.values() if not s.ended and self._answers.get(s.trace, (-1,))[0] != s.tokens]
        forced = await asyncio.gather(*(self._force(snapshot) for snapshot in fresh))
        for snapshot, (answer, _) in zip(fresh, forced, strict=True):
            self._answers[snapshot.trace] = snapshot.tokens, answer
        similarities = [self._similarity(self._answer(a), self._answer(b)) for a, b in pairs]
        return Judgement(similarities, generated=sum(generated for _, generated in forced))

    def _answer(self, snapshot: Snapshot) -> str | None:
        return snapshot.answer if snapshot.ended else self._answers[snapshot.trace][1]

    @staticmethod
    def _similarity(first: str | None, second: str | None) -> float:
        return float(first is not None and first == second)
