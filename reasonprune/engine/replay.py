"""Replay: recorded traces on a virtual clock, where every running trace gains one token per tick."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from reasonprune.engine.pool import RecordedTrace
from reasonprune.errors import PoolError
from reasonprune.judges import PairJudge, Snapshot
from reasonprune.judges.probe import Forced
from reasonprune.parallel.protocol import Evaluated, Event, Finished, Grew, Judged, Probed, Signals, TraceEvent
from reasonprune.selfeval.score import SelfScore


@dataclass(frozen=True)
class _Question:
    """Pairs on their way to the judge, with the traces as they were when it was asked."""

    pairs: Sequence[tuple[int, int]]
    snapshots: dict[int, Snapshot]


@dataclass
class RecordedForce:
    """Forces answers in replay: the recorded one at the last probe before, `cost` tokens each."""

    traces: Sequence[RecordedTrace]
    cost: int

    async def __call__(self, snapshot: Snapshot) -> Forced:
        probes = self.traces[snapshot.trace].probes
        every = min(probes, default=0)
        return (probes.get(snapshot.tokens // every * every) if every else None), self.cost


class ReplayRace:
    """A race over recorded traces, taken in the given order. `now` counts tokens of the longest dependent chain.

    A probe is charged `probe_cost` tokens, its upper bound, and its answer arrives that many ticks later.
    """

    def __init__(
        self,
        traces: Sequence[RecordedTrace],
        signals: Signals,
        probe_cost: int = 0,
        judge: PairJudge | None = None,
        question: str = "",
    ) -> None:
        self._records = traces
        self._signals = signals
        self._probe_cost = probe_cost
        self._judge = judge
        self._question = question
        self._queue: list[tuple[float, int, Event | _Question]] = []
        self._started: dict[int, float] = {}
        self._stopped: dict[int, float] = {}
        self._reported: dict[int, int] = {}
        self._sequence = 0
        self.now = 0.0
        self.probe_tokens = 0
        self.judge_prompt_tokens = 0

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

    def _push(self, time: float, event: Event | _Question) -> None:
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

    def judge(self, pairs: Sequence[tuple[int, int]]) -> None:
        snapshots = {trace: self._snapshot(trace) for pair in pairs for trace in pair}
        self._push(self.now, _Question(pairs, snapshots))

    def evaluate(self, traces: Sequence[int]) -> None:
        """Recorded scores come at once: what a check costs depends on its kind, and is not a matter of replay."""
        scores = {trace: score for trace in traces if (score := self._score(trace)) is not None}
        self._push(self.now, Evaluated(tuple(traces), scores))

    def _score(self, trace: int) -> SelfScore | None:
        """The one recorded last, at the trace's present length or before."""
        scores, tokens = self._records[trace].scores, self.tokens(trace)
        return scores[max(known)] if (known := [at for at in scores if at <= tokens]) else None

    def _snapshot(self, trace: int) -> Snapshot:
        record, tokens = self._records[trace], self.tokens(trace)
        ended = tokens == record.tokens
        text = (record.text or "")[: None if ended else round(len(record.text or "") * tokens / record.tokens)]
        return Snapshot(trace, tokens, text, self._question, (), ended, record.answer if ended else None)

    async def _ask(self, question: _Question) -> Judged | None:
        """The judge's word, at once; or after the ticks that forced answers take."""
        assert self._judge is not None, "a policy that judges comes with a judge"
        asked = [(question.snapshots[a], question.snapshots[b]) for a, b in question.pairs]
        judgement = await self._judge.judge(asked)
        judged = Judged(dict(zip(question.pairs, judgement.similarities, strict=True)))
        self.probe_tokens += judgement.generated
        self.judge_prompt_tokens += judgement.prompted
        if not judgement.generated:
            return judged
        self._push(self.now + self._probe_cost, judged)
        return None

    def tokens(self, trace: int) -> int:
        elapsed = self._stopped.get(trace, self.now) - self._started[trace]
        return int(min(elapsed, self._records[trace].tokens))

    async def next(self) -> Event:
        while True:
            time, _, event = heapq.heappop(self._queue)
            if isinstance(event, (_Question, Judged)):
                self.now = time
                judged = await self._ask(event) if isinstance(event, _Question) else event
                if judged is not None:
                    return judged
                continue
            if isinstance(event, Evaluated):
                self.now = time
                return event
            if event.trace in self._stopped:
                continue
            self.now = time
            if isinstance(event, Grew):
                self._schedule_growth(event.trace, event.tokens)
            return self._with_confidences(event) if self._signals.confidences else event

    def _with_confidences(self, event: TraceEvent) -> TraceEvent:
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
