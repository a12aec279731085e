"""Votes over answers, and how sure they make us of the leader."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import comb

from reasonprune.parallel.protocol import Decide


@lru_cache(maxsize=4096)
def beats_runner_up(leader: int, runner_up: int) -> float:
    """Posterior probability that the leading answer is the likelier of the two, given their vote counts.

    One minus the Beta(leader + 1, runner_up + 1) distribution function at 1/2, the stopping rule of adaptive
    consistency (arXiv 2305.11860). For whole counts it is a binomial tail, so no special functions are needed.
    """
    trials = leader + runner_up + 1
    return sum(comb(trials, k) for k in range(leader + 1)) / 2**trials


@dataclass
class Ballot:
    """Answers of traces in the order in which they came in; None is an abstention."""

    answers: dict[int, str | None] = field(default_factory=dict)
    weights: dict[int, float] = field(default_factory=dict)

    def add(self, trace: int, answer: str | None, weight: float = 1.0) -> None:
        self.answers[trace] = answer
        self.weights[trace] = weight

    @property
    def votes(self) -> dict[str, float]:
        """Weight by answer, heaviest first; of equal ones the answer that came first."""
        totals: dict[str, float] = {}
        for trace, answer in self.answers.items():
            if answer is not None:
                totals[answer] = totals.get(answer, 0.0) + self.weights[trace]
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    @property
    def confidence(self) -> float:
        """`beats_runner_up` of the two leading answers; 0 without any answer."""
        counts = [round(weight) for weight in self.votes.values()]
        if not counts:
            return 0.0
        return beats_runner_up(counts[0], counts[1] if len(counts) > 1 else 0)

    def decide(self, reason: str) -> Decide:
        """The majority's decision. Traces are ranked by the place of their answer, then by weight, then as they came
        in. Where nobody gave an answer, the first to finish is chosen and the reason says so.
        """
        votes = self.votes
        places = {answer: place for place, answer in enumerate(votes)}

        def standing(trace: int) -> tuple[float, float]:
            answer = self.answers[trace]
            return (places[answer], -self.weights[trace]) if answer is not None else (len(places), 0.0)

        ranking = tuple(sorted(self.answers, key=standing))
        if not ranking:
            reason = f"{reason}; no trace finished"
        elif not votes:
            reason = f"{reason}; no trace gave an answer that could be found, so the first to finish is returned"
        return Decide(ranking, reason, next(iter(votes), None), votes)
