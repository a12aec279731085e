"""What the log-probabilities of a trace's own tokens say of it, beside the hidden state of its last one.

A slip shows where it is sampled and may have left the state by the end. Means over the latest tokens and over the least
likely stretch are those that DeepConf (arXiv 2508.15260) found to tell right traces from wrong ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LATEST = np.array([8, 16, 32, 64])  # tokens before here, whose mean is taken
STRETCHES = (8, 16, 32)  # tokens in a row, of which the least mean is taken
LEAST = 8  # least likely tokens that are looked at
UNLIKELY, RARE = -0.7, -2.0  # log-probabilities below which tokens are counted; the first is about one half
TRAIL = 17  # numbers of a trail


def trails(traces: Sequence[Sequence[float] | NDArray[np.floating]]) -> NDArray[np.float64]:
    """The trail of each trace's tokens so far, (traces, TRAIL), from their log-probabilities in order.

    Of a trace without tokens it is zeros.
    """
    tokens = np.array([len(trace) for trace in traces])
    # Log-probabilities are at most 0, so zeros at the end change no sum, no least token and no least stretch.
    x = np.zeros((len(traces), max(*STRETCHES, *tokens)))
    for row, trace in zip(x, traces, strict=True):
        row[: len(trace)] = trace
    np.minimum(x, 0.0, out=x)  # rounding may lift the likeliest above 0
    sums = np.zeros((len(traces), x.shape[1] + 1))
    np.cumsum(x, axis=1, out=sums[:, 1:])
    total, count = sums[:, -1], np.maximum(tokens, 1)
    least = np.sort(np.partition(x, LEAST - 1, axis=1)[:, :LEAST], axis=1)
    before = np.maximum(tokens[:, None] - LATEST, 0)
    latest = (total[:, None] - np.take_along_axis(sums, before, 1)) / np.minimum(count[:, None], LATEST)
    unlikely = (x < UNLIKELY).sum(1)
    return np.column_stack(
        [
            least[:, 0],
            total / count,
            np.log1p(-total),
            np.log1p(tokens),
            latest,
            *((sums[:, s:] - sums[:, :-s]).min(1) / np.minimum(count, s) for s in STRETCHES),
            least[:, 1],
            least[:, : LEAST // 2].mean(1),
            least.mean(1),
            unlikely / count,
            (x < RARE).sum(1),
            np.log1p(unlikely),
        ]
    )
