"""A judge that is shown the beginnings of traces only, as DeepPrune's is (arXiv 2510.08483)."""

from __future__ import annotations

from collections.abc import Sequence

from reasonprune.judges.judge import Judgement, Pair, PairJudge
from reasonprune.judges.snapshot import Snapshot, first_tokens, first_words


class TruncatedJudge:
    """Cuts every trace at `tokens`, or at its reasoning word number `words`, then asks `judge`.

    What is cut has not ended: the judge must not know answers that lie behind the cut.
    """

    def __init__(self, judge: PairJudge, tokens: int, words: int | None = None) -> None:
        self._judge = judge
        self._tokens = tokens
        self._words = words

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        return await self._judge.judge([(self._cut(first), self._cut(second)) for first, second in pairs])

    def _cut(self, snapshot: Snapshot) -> Snapshot:
        return first_words(snapshot, self._words) if self._words else first_tokens(snapshot, self._tokens)
