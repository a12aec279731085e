"""What the log-probabilities of a trace's own tokens say of it, beside the hidden state of its last one.

A slip shows where it is sampled and may have left the state by the end. Means over the latest tokens and over the least
likely stretch are those that DeepConf (arXiv 2508.15260) found to tell right traces from wrong ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LATEST = (8, 16, 32, 64)  # tokens before here, whose mean is taken
STRETCHES = (8, 16, 32)  # tokens in a row, of which the least mean is taken
LEAST = 8  # least likely tokens that are looked at
UNLIKELY, RARE = -0.7, -2.0  # log-probabilities below which tokens are counted; the first is about one half
TRAIL = 17  # numbers of a trail


def trail(logprobs: Sequence[float] | NDArray[np.floating]) -> list[float]:
    """The trail of a trace's tokens so far, (TRAIL,), from their log-probabilities in order; zeros before the first."""
    x = np.asarray(logprobs, dtype=np.float64)
    if not len(x):
        return [0.0] * TRAIL
    sums = np.concatenate([[0.0], np.cumsum(x)])
    total = float(sums[-1])
    least = np.zeros(LEAST)
    lowest = np.partition(x, LEAST - 1)[:LEAST] if len(x) > LEAST else x
    least[: len(lowest)] = np.sort(lowest)
    unlikely = int((x < UNLIKELY).sum())
    return [
        float(least[0]),
        total / len(x),
        math.log1p(max(0.0, -total)),
        math.log1p(len(x)),
        *((total - float(sums[max(0, len(x) - latest)])) / min(len(x), latest) for latest in LATEST),
        *(_least_mean(sums, stretch) for stretch in STRETCHES),
        float(least[1]),
        float(least[: LEAST // 2].mean()),
        float(least.mean()),
        unlikely / len(x),
        float((x < RARE).sum()),
        math.log1p(unlikely),
    ]


def _least_mean(sums: NDArray[np.float64], stretch: int) -> float:
    """Of all stretches of so many tokens; of all tokens where there are fewer."""
    stretch = min(stretch, len(sums) - 1)
    return float((sums[stretch:] - sums[:-stretch]).min()) / stretch
