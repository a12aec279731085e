"""How many draft tokens a batch should verify: as many as raise its tokens per second, none where none do."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

KNOTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
PRIOR_SLOPE = 0.02  # of the time of a step, for each further token in it, until it was measured
SMOOTHING = 0.05  # weight of a new measurement
FORGETTING = 0.99  # of what the line through all measurements is made of, by measurement
PRIOR_STEPS = 2.0  # measurements that the prior slope counts for
LINE_STEPS = 16.0  # measurements of a number of tokens that the line counts for
OUTLIER = 4.0  # a step longer than so many times what was expected was disturbed by something else
LEAST_STEPS = 3  # before which nothing is expected


class StepCost:
    """The measured time of a forward step by the number of tokens in it.

    Means by number of tokens, shrunk to a line through all of them: a number that was rarely tried, perhaps when the
    machine was busy, is not believed to be slow for ever.
    """

    def __init__(self) -> None:
        self._means: dict[int, float] = {}
        self._counts: dict[int, int] = {}
        self._sums = [0.0] * 5  # of 1, tokens, seconds, tokens squared, tokens times seconds
        self._known: list[tuple[int, float]] | None = None

    def observe(self, tokens: int, seconds: float) -> None:
        knot = KNOTS[min(bisect_left(KNOTS, tokens), len(KNOTS) - 1)]
        if sum(self._counts.values()) >= LEAST_STEPS and seconds > OUTLIER * self.seconds(tokens):
            return
        mean, count = self._means.get(knot, seconds), self._counts.get(knot, 0)
        self._counts[knot] = count + 1
        self._means[knot] = mean + (seconds - mean) * max(SMOOTHING, 1 / (count + 1))
        new = (1.0, tokens, seconds, tokens * tokens, tokens * seconds)
        self._sums = [FORGETTING * old + more for old, more in zip(self._sums, new, strict=True)]
        self._known = None

    def seconds(self, tokens: int) -> float:
        """Linear between the numbers that were measured, along the line beyond them, never falling with more tokens."""
        if self._known is None:
            self._known = self._shrunk()
        known = self._known
        if not known:
            return 1 + PRIOR_SLOPE * tokens
        place = bisect_left(known, (tokens, 0.0))
        if place < len(known) and known[place][0] == tokens:
            return known[place][1]
        if place == 0 or place == len(known):
            nearest, seconds = known[min(place, len(known) - 1)]
            return seconds * self._line(tokens) / self._line(nearest)
        (below, low), (above, high) = known[place - 1], known[place]
        return low + (high - low) * (tokens - below) / (above - below)

    def _shrunk(self) -> list[tuple[int, float]]:
        known, highest = [], 0.0
        for knot in sorted(self._means):
            count = self._counts[knot]
            mean = (count * self._means[knot] + LINE_STEPS * self._line(knot)) / (count + LINE_STEPS)
            highest = max(highest, mean)
            known.append((knot, highest))
        return known

    def _line(self, tokens: int) -> float:
        """Least squares through the recent measurements, with the prior slope as a few more; below no mean."""
        count, total, seconds, squares, products = self._sums
        centre, mean = total / count, seconds / count
        prior = PRIOR_SLOPE * mean
        spread = squares / count - centre * centre
        weight = PRIOR_STEPS / count
        slope = max(0.0, (products / count - centre * mean + weight * prior) / (spread + weight))
        return max(mean + slope * (tokens - centre), min(self._means.values()))


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
