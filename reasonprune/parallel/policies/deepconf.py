"""DeepConf, online: stop traces whose confidence falls below a bar set by warm-up traces (Fu et al., arXiv 2508.15260).

Token confidence is the negative mean log-probability of the 20 likeliest tokens; a trace is as good as its lowest
sliding-window mean. The bar is the percentile of the warm-up traces that keeps the best 10% (`low`) or 90% (`high`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from reasonprune.parallel.protocol import Action, Decide, Event, Finished, Grew, Probed, Prune, Signals, Spawn
from reasonprune.parallel.votes import Ballot
from reasonprune.policy_options import DeepConfOptions

KEPT_PERCENT = {"low": 10, "high": 90}


def percentile(values: Sequence[float], percent: float) -> float:
    """The `percent`-th percentile (0 to 100) with linear interpolation; `values` must not be empty."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


class SlidingMinimum:
    """Lowest mean of `window` neighbouring token confidences seen so far."""

    def __init__(self, window: int) -> None:
        self._recent: deque[float] = deque(maxlen=window)
        self._sum = 0.0
        self._lowest: float | None = None

    def extend(self, confidences: Iterable[float]) -> None:
        recent = self._recent
        for value in confidences:
            if len(recent) == recent.maxlen:
                self._sum -= recent[0]
            recent.append(value)
            self._sum += value
            if len(recent) == recent.maxlen:
                mean = self._sum / len(recent)
                self._lowest = mean if self._lowest is None else min(self._lowest, mean)

    @property
    def lowest(self) -> float | None:
        """None until one window is full: a mean over the first few tokens says nothing about a trace."""
        return self._lowest

    @property
    def final(self) -> float:
        """For a finished trace: the lowest window, or the mean of a trace shorter than one window."""
        if self._lowest is not None:
            return self._lowest
        return self._sum / len(self._recent) if self._recent else 0.0


class DeepConf:
    """Warm-up to the end, then traces that are stopped below the bar; votes weighted by confidence."""

    signals = Signals(every=32, confidences=True)

    def __init__(self, options: DeepConfOptions) -> None:
        self._options = options
        self._warmup = min(options.warmup, options.n)
        self._windows: dict[int, SlidingMinimum] = {}
        self._ballot = Ballot()
        self._ended = 0
        self._bar: float | None = None

    def begin(self) -> list[Action]:
        return [Spawn() for _ in range(self._warmup)]

    def on(self, event: Event) -> list[Action]:
        if isinstance(event, (Grew, Finished)):
            window = self._windows.setdefault(event.trace, SlidingMinimum(self._options.window))
            window.extend(event.confidences)
        if isinstance(event, Grew):
            return self._check(event)
        if isinstance(event, Probed):
            return []
        if isinstance(event, Finished):
            # A weight of zero would silence a trace whose confidences the engine did not give.
            weight = self._windows[event.trace].final or 1e-9
            self._ballot.add(event.trace, event.answer, weight)
        return self._advance()

    def _check(self, event: Grew) -> list[Action]:
        lowest = self._windows[event.trace].lowest
        if event.trace < self._warmup or self._bar is None or lowest is None or lowest >= self._bar:
            return []
        return [Prune(event.trace, f"lowest window confidence {lowest:.2f} is below the bar of {self._bar:.2f}")]

    def _advance(self) -> list[Action]:
        self._ended += 1
        if self._ended < self._warmup:
            return []
        actions: list[Action] = []
        if self._bar is None:
            finals = [self._windows[trace].final for trace in self._ballot.answers]
            self._bar = percentile(finals, 100 - KEPT_PERCENT[self._options.mode]) if finals else 0.0
            actions = [Spawn() for _ in range(self._options.n - self._warmup)]
        votes = self._ballot.votes
        total = sum(votes.values())
        if total and next(iter(votes.values())) / total >= self._options.threshold:
            return [self._ballot.decide(f"leader holds {next(iter(votes.values())) / total:.0%} of the weighted vote")]
        return actions

    def conclude(self) -> Decide:
        never_full = all(window.lowest is None for window in self._windows.values())
        note = f"; no trace filled a window of {self._options.window} tokens, so none could be stopped"
        return self._ballot.decide(f"all traces ended{note if never_full else ''}")
