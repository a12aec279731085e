"""How many draft tokens a batch should verify: as many as raise its tokens per second, none where none do."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

KNOTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
PRIOR_SLOPE = 0.02  # of the time of a step, for each further token in it, until it was measured
SMOOTHING = 0.1  # weight of a new measurement
OUTLIER = 4.0  # a step longer than so many times its mean was disturbed by something else


class StepCost:
    """The measured time of a forward step by the number of tokens in it."""

    def __init__(self) -> None:
        self._means: dict[int, float] = {}
        self._counts: dict[int, int] = {}

    def observe(self, tokens: int, seconds: float) -> None:
        knot = KNOTS[min(bisect_left(KNOTS, tokens), len(KNOTS) - 1)]
        mean, count = self._means.get(knot, seconds), self._counts.get(knot, 0)
        if count > 2 and seconds > OUTLIER * mean:
            return
        self._counts[knot] = count + 1
        self._means[knot] = mean + (seconds - mean) * max(SMOOTHING, 1 / (count + 1))

    def seconds(self, tokens: int) -> float:
        """Linear between what was measured, along the prior slope beyond it, and never falling with more tokens."""
        known = sorted(self._means)
        if not known:
            return 1 + PRIOR_SLOPE * tokens
        means, highest = [], 0.0
        for knot in known:
            highest = max(highest, self._means[knot])
            means.append(highest)
        place = bisect_left(known, tokens)
        if place < len(known) and known[place] == tokens:
            return means[place]
        if place == 0 or place == len(known):
            nearest = min(place, len(known) - 1)
            return means[nearest] * (1 + PRIOR_SLOPE * tokens) / (1 + PRIOR_SLOPE * known[nearest])
        below, above = known[place - 1], known[place]
        return means[place - 1] + (means[place] - means[place - 1]) * (tokens - below) / (above - below)


def allocate(reaches: Sequence[Sequence[float]], cost: StepCost) -> list[int]:
    """Draft tokens to verify for each request of a batch.

    `reaches[r][i]`: estimated probability that all of the first i + 1 drafts of request r are accepted, falling in i.
    The k likeliest drafts of the whole batch are taken, for the k that gives the most expected tokens per second.
    """
    rows = len(reaches)
    offers = sorted(((reach, row) for row, chain in enumerate(reaches) for reach in chain), key=lambda offer: -offer[0])
    best, best_rate, expected = 0, rows / cost.seconds(rows) if rows else 0.0, float(rows)
    for count, (reach, _) in enumerate(offers, 1):
        expected += reach
        rate = expected / cost.seconds(rows + count)
        if rate > best_rate:
            best, best_rate = count, rate
    lengths = [0] * rows
    for _, row in offers[:best]:
        lengths[row] += 1
    return lengths
