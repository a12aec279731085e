"""What a self-evaluation says of a trace, and the interface of all that say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reasonprune.judges.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class SelfScore:
    """`value` ranks and weighs traces of one question, 0 to 1; where it is calibrated, the probability of being right.

    `unbeaten` is the probability that a fresh trace would do no better, win or tie (arXiv 2410.02725): near one for a
    good trace, and for any trace of a question that is beyond the model. None where the two are not told apart.
    `remaining` is the expected number of tokens to the trace's end, None where it is not predicted.
    """

    value: float
    unbeaten: float | None = None
    remaining: float | None = None

    @property
    def content(self) -> float:
        """How little a restart promises: what a threshold is held against."""
        return self.value if self.unbeaten is None else self.unbeaten

    @property
    def sound(self) -> bool:
        """Probabilities, and a length that is none less than nothing; NaN is neither."""
        probabilities = (self.value, self.content)
        return all(0 <= p <= 1 for p in probabilities) and (self.remaining is None or 0 <= self.remaining < math.inf)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`scores`, trace by trace as asked, None where there is none of a trace.

    `generated` and `prompted` are tokens that the model wrote and read for it, cached ones left out.
    """

    scores: list[SelfScore | None]
    generated: int = 0
    prompted: int = 0


class SelfEvaluator(Protocol):
    """Scores traces of one question, whole or unfinished."""

    async def evaluate(self, snapshots: Sequence[Snapshot]) -> Evaluation:
        """Scores in the order of `snapshots`. May raise anything: it costs a request its scores, not its answer."""
        ...


@dataclass
class SelfEvalBooks:
    """What self-evaluation has cost a race. `last` holds each trace's latest score; `unsound` those that were NaN."""

    rounds: int = 0
    checks: int = 0
    unsound: int = 0
    generated: int = 0
    prompted: int = 0
    ms: float = 0.0
    failure: str | None = None
    last: dict[int, SelfScore] = field(default_factory=dict)

    def take(self, traces: Sequence[int], evaluation: Evaluation) -> dict[int, SelfScore]:
        """Enters an evaluation of `traces`; gives the scores that can be used."""
        self.generated += evaluation.generated
        self.prompted += evaluation.prompted
        scores: dict[int, SelfScore] = {}
        for trace, score in zip(traces, evaluation.scores, strict=True):
            if score is not None and not score.sound:
                self.unsound += 1
            elif score is not None:
                scores[trace] = score
        self.last |= scores
        return scores
