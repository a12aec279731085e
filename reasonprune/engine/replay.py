"""Replay: recorded traces on a virtual clock, where every running trace gains one token per tick."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from reasonprune.engine.pool import RecordedTrace
from reasonprune.errors import PoolError
from reasonprune.parallel.protocol import Event, Finished, Grew, Probed, Signals


class ReplayRace:
    """A race over recorded traces, taken in the given order. `now` counts tokens of the longest dependent chain.

    A probe is charged `probe_cost` tokens, its upper bound, and its answer arrives that many ticks later.
    """

    def __init__(self, traces: Sequence[RecordedTrace], signals: Signals, probe_cost: int = 0) -> None:
        self._records = traces
        self._signals = signals
        self._probe_cost = probe_cost
        self._queue: list[tuple[float, int, Event]] = []
        self._started: dict[int, float] = {}
        self._stopped: dict[int, float] = {}
        self._reported: dict[int, int] = {}
        self._sequence = 0
        self.now = 0.0
        self.probe_tokens = 0

    def start(self, trace: int, temperature: float | None) -> None:
        if trace >= len(self._records):
            raise PoolError(f"The policy starts {trace + 1} traces, the pool holds {len(self._records)} of a question.")
        record = self._records[trace]
        if self._signals.confidences and record.confidences is None:
            raise PoolError("This policy needs token confidences, which the pool does not hold (`reasonprune record`).")
        self._started[trace] = self.now
        self._push(self.now + record.tokens, Finished(trace, record.tokens, record.answer))
        self._schedule_growth(trace, 0)

    def _schedule_growth(self, trace: int, tokens: int) -> None:
        following = tokens + self._signals.every
        if self._signals.every and following < self._records[trace].tokens:
            self._push(self._started[trace] + following, Grew(trace, following))

    def _push(self, time: float, event: Event) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (time, self._sequence, event))

    def stop(self, trace: int) -> None:
        self._stopped[trace] = self.now

    def probe(self, trace: int) -> None:
        tokens = self.tokens(trace)
        record = self._records[trace]
        every = min(record.probes, default=0)
        if not every or tokens % every:
            remedy = f"set every={every}" if every else "record the pool with probes"
            raise PoolError(f"The pool holds no probe at {tokens} tokens; {remedy}.")
        self.probe_tokens += self._probe_cost
        # A probe missing from an otherwise probed trace was not answered.
        self._push(self.now + self._probe_cost, Probed(trace, tokens, record.probes.get(tokens)))

    def tokens(self, trace: int) -> int:
        elapsed = self._stopped.get(trace, self.now) - self._started[trace]
        return int(min(elapsed, self._records[trace].tokens))

    async def next(self) -> Event:
        while True:
            time, _, event = heapq.heappop(self._queue)
            if event.trace in self._stopped:
                continue
            self.now = time
            if isinstance(event, Grew):
                self._schedule_growth(event.trace, event.tokens)
            return self._with_confidences(event) if self._signals.confidences else event

    def _with_confidences(self, event: Event) -> Event:
        if not isinstance(event, (Grew, Finished)):
            return event
        since, self._reported[event.trace] = self._reported.get(event.trace, 0), event.tokens
        fresh = (self._records[event.trace].confidences or ())[since : event.tokens]
        if isinstance(event, Grew):
            return Grew(event.trace, event.tokens, fresh)
        return Finished(event.trace, event.tokens, event.answer, fresh)

    async def ended(self, trace: int) -> None:
        if trace not in self._stopped:
            self.now = max(self.now, self._started[trace] + self._records[trace].tokens)
