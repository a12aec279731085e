"""A race on a live vLLM engine: every trace an independent engine request over the shared, cached prefix."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vllm import SamplingParams
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError

from reasonprune.answers import AnswerClasses, extract_answer
from reasonprune.answers.extract import AnswerKind
from reasonprune.engine.confidence import TOP_LOGPROBS, token_confidence
from reasonprune.engine.probe import Forced, Prober
from reasonprune.errors import ReasonpruneError
from reasonprune.judges import PairJudge, Snapshot
from reasonprune.judges.books import JudgeBooks
from reasonprune.judges.probe import Forced as ForcedClass
from reasonprune.parallel.protocol import Evaluated, Event, Failed, Finished, Grew, Judged, Probed, Signals
from reasonprune.selfeval.score import SelfEvalBooks, SelfEvaluator

logger = logging.getLogger(__name__)

JUDGE_SETTLES_S = 0.25  # a judgement that is no longer needed is waited for this long, to count its tokens
ABORT_RETRY_S = (0.0, 0.005, 0.02, 0.1, 0.5, 2.0)


@dataclass(frozen=True)
class RaceRequest:
    """The engine request that all traces of a question repeat.

    `engines`: of the traces, in turn, where some are to run other layers than the race's own engine does.
    """

    prompt: Any
    params: SamplingParams
    request_id: str
    generate_options: Mapping[str, Any]
    question: str = ""
    answer: AnswerKind = "auto"
    streaming: bool = False
    prober: Prober | None = None
    judge_ms: float = 0.0
    engines: Sequence[Any] = ()
    self_eval_ms: float = 0.0
    mark: Callable[[SamplingParams, str], SamplingParams] | None = None  # a trace's own, from its id


@dataclass
class _Trace:
    """What a running trace has produced: its outputs as the engine gave them, and their sums."""

    task: asyncio.Task[None]
    outputs: list[RequestOutput] = field(default_factory=list)
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    grown: int = 0
    answer: str | None = None
    ended: bool = False
    fresh: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False


class LiveRace:
    """Implements `Race` on an `EngineClient`. Must be closed; closing aborts whatever still runs.

    `make_judge` is given the race, since some judges force answers from its traces.
    """

    def __init__(
        self,
        engine: Any,
        request: RaceRequest,
        signals: Signals,
        classes: AnswerClasses,
        make_judge: Callable[[LiveRace], PairJudge] | None = None,
        make_evaluator: Callable[[LiveRace], SelfEvaluator] | None = None,
    ) -> None:
        self._engine = engine
        self._request = request
        self._signals = signals
        self._classes = classes
        self._traces: dict[int, _Trace] = {}
        self._events: asyncio.Queue[Event | BaseException] = asyncio.Queue()
        self._background: set[asyncio.Task[None]] = set()
        self._judging: set[asyncio.Task[None]] = set()
        self._began = time.perf_counter()
        self._error: BaseException | None = None
        self.probe_tokens = 0
        self.answers_ms = 0.0  # spent on finding and comparing answers
        self.judging = JudgeBooks()
        self._make_judge = make_judge
        self._judge: PairJudge | None = None
        self.self_eval = SelfEvalBooks()
        self._make_evaluator = make_evaluator
        self._evaluator: SelfEvaluator | None = None
        self.forced: dict[int, tuple[int, Forced]] = {}  # trace -> outputs before the probe, and what it gave

    @property
    def now(self) -> float:
        return (time.perf_counter() - self._began) * 1000

    def tokens(self, trace: int) -> int:
        return len(self._traces[trace].token_ids)

    @property
    def total_tokens(self) -> int:
        """Generated so far, probes included."""
        return sum(len(trace.token_ids) for trace in self._traces.values()) + self.probe_tokens

    def start(self, trace: int, temperature: float | None) -> None:
        params = self._trace_params(trace, temperature)
        task = asyncio.create_task(self._pull(trace, params), name=f"{self._request.request_id}/{trace}")
        self._traces[trace] = _Trace(task)

    def _trace_params(self, trace: int, temperature: float | None) -> SamplingParams:
        params = self._request.params.clone()
        params.n = 1
        if temperature is not None:
            params.temperature = temperature
        if params.seed is not None:
            params.seed += trace  # as vLLM seeds the samples of n > 1
        if self._request.mark is not None:
            params = self._request.mark(params, self._child_id(trace))
        live = self._request.streaming or self._signals.every or self._signals.judges or self._signals.evaluates
        params.output_kind = RequestOutputKind.DELTA if live else RequestOutputKind.FINAL_ONLY
        if self._signals.confidences:
            params.logprobs = max(params.logprobs or 0, TOP_LOGPROBS)
        return params

    def _engine_of(self, trace: int) -> Any:
        engines = self._request.engines
        return engines[trace % len(engines)] if engines else self._engine

    def _child_id(self, trace: int | str) -> str:
        return f"{self._request.request_id}-trace{trace}"

    async def _pull(self, index: int, params: SamplingParams) -> None:
        """Takes a trace's outputs from the engine and turns them into events."""
        await asyncio.sleep(0)  # lets start() register the trace first
        trace = self._traces[index]
        generator = self._engine_of(index).generate(
            self._request.prompt, params, self._child_id(index), **self._request.generate_options
        )
        reason = None
        try:
            async for output in generator:
                reason = self._take(index, trace, output) or reason
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._error = error
            self._events.put_nowait(error if isinstance(error, EngineDeadError) else Failed(index, self.tokens(index)))
            return
        finally:
            trace.fresh.set()
        if trace.stopped:
            return
        began = self.now
        found = extract_answer(trace.text, self._request.answer) if reason == "stop" else None
        answer = await self._classes.add_async(found) if found is not None else None
        self.answers_ms += self.now - began
        trace.answer, trace.ended = answer, True
        self._events.put_nowait(Finished(index, self.tokens(index), answer, trace.confidences[trace.grown :]))

    def _take(self, index: int, trace: _Trace, output: RequestOutput) -> str | None:
        completion = output.outputs[0]
        trace.text += completion.text
        trace.token_ids.extend(completion.token_ids)
        if self._signals.confidences and completion.logprobs:
            for position in completion.logprobs:
                trace.confidences.append(token_confidence(position))
            if not self._request.params.logprobs:
                completion.logprobs = None  # asked for by the policy, not by the client
                completion.cumulative_logprob = None
        trace.outputs.append(output)
        trace.fresh.set()
        every = self._signals.every
        if every and not trace.stopped and completion.finish_reason is None:
            for boundary in range(trace.grown // every * every + every, len(trace.token_ids) + 1, every):
                fresh = trace.confidences[trace.grown : boundary]
                trace.grown = boundary
                self._events.put_nowait(Grew(index, boundary, fresh))
        return completion.finish_reason

    async def next(self) -> Event:
        event = await self._events.get()
        if isinstance(event, BaseException):
            raise event
        alone = all(trace.task.done() for trace in self._traces.values()) and self._events.empty()
        if isinstance(event, Failed) and alone and self._error and not any(t.outputs for t in self._traces.values()):
            raise self._error  # nothing to answer with: the client sees the engine's own error
        return event

    def stop(self, trace: int) -> None:
        self._traces[trace].stopped = True
        self._spawn(self._halt(trace))

    def _spawn(self, coroutine: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _halt(self, index: int) -> None:
        """Aborts in the engine and waits for the trace's last output, which holds its final token count.

        An abort that comes before the engine knows the request is lost, hence the repeats; cancelling is the last
        resort, since a cancelled trace does not tell how many tokens it had.
        """
        task = self._traces[index].task
        for wait in ABORT_RETRY_S:
            await self._engine.abort(self._child_id(index))
            await asyncio.wait({task}, timeout=max(wait, 0.001))
            if task.done():
                return
        task.cancel()
        await asyncio.wait({task})
        await self._engine.abort(self._child_id(index))

    def probe(self, trace: int) -> None:
        self._spawn(self._probe(trace, self._traces[trace].grown))

    async def _probe(self, index: int, at: int) -> None:
        trace, prober = self._traces[index], self._request.prober
        assert prober is not None, "a policy that probes comes with a prober"
        options = {k: v for k, v in self._request.generate_options.items() if k in ("lora_request", "priority")}
        outputs, name = len(trace.outputs), self._child_id(f"{index}-probe{at}")
        answer = None
        try:
            forced = await prober.force(
                self._engine_of(index), self._request.prompt, list(trace.token_ids), trace.text, name, options
            )
            self.probe_tokens += forced.generated
            self.forced[index] = outputs, forced
            if forced.answer is not None:
                answer = await self._classes.add_async(forced.answer)
        except EngineDeadError as error:
            self._events.put_nowait(error)
            return
        except Exception as error:
            # A probe beyond the context length has no answer; the trace itself goes on.
            logger.debug("The probe of trace %d at %d tokens failed: %s", index, at, error)
        self._events.put_nowait(Probed(index, at, answer))

    def judge(self, pairs: Sequence[tuple[int, int]]) -> None:
        task = self._spawn(self._ask(list(pairs), {trace: self._snapshot(trace) for pair in pairs for trace in pair}))
        self._judging.add(task)
        task.add_done_callback(self._judging.discard)

    def _snapshot(self, index: int) -> Snapshot:
        trace = self._traces[index]
        question = self._request.question
        ids = tuple(trace.token_ids)
        return Snapshot(index, len(ids), trace.text, question, ids, trace.ended, trace.answer)

    async def _ask(self, pairs: list[tuple[int, int]], snapshots: dict[int, Snapshot]) -> None:
        """A judge that fails or takes too long costs the request its judge, not its answer."""
        books, began = self.judging, self.now
        books.rounds += 1
        books.pairs += len(pairs)
        similarities: dict[tuple[int, int], float] = {}
        failure = None
        try:
            async with asyncio.timeout(max(0.0, self._request.judge_ms - books.ms) / 1000):
                judgement = await self._the_judge().judge([(snapshots[a], snapshots[b]) for a, b in pairs])
            books.generated += judgement.generated
            books.prompted += judgement.prompted
            self.probe_tokens += judgement.generated
            similarities = dict(zip(pairs, judgement.similarities, strict=True))
        except EngineDeadError as error:
            self._events.put_nowait(error)
            return
        except TimeoutError:
            failure = f"the judge took longer than judge_ms, {self._request.judge_ms:g} ms"
        except Exception as error:
            logger.warning("The judge failed; the request goes on without it.", exc_info=True)
            failure = f"the judge failed: {type(error).__name__}: {error}"
        books.ms += self.now - began
        books.failure = failure
        self._events.put_nowait(Judged(similarities, failure))

    def _the_judge(self) -> PairJudge:
        """Made when it is first asked, so that one that cannot be loaded is a judge that fails."""
        if self._judge is None:
            assert self._make_judge is not None, "a policy that judges comes with a judge"
            self._judge = self._make_judge(self)
        return self._judge

    def name_of(self, trace: int) -> str:
        """The engine request of a trace, by which our worker knows it too."""
        return self._child_id(trace)

    def evaluate(self, traces: Sequence[int]) -> None:
        task = self._spawn(self._evaluate(list(traces), [self._snapshot(trace) for trace in traces]))
        self._judging.add(task)
        task.add_done_callback(self._judging.discard)

    async def _evaluate(self, traces: list[int], snapshots: list[Snapshot]) -> None:
        """A self-evaluation that fails or takes too long costs the request its scores, not its answer."""
        books, began = self.self_eval, self.now
        books.rounds += 1
        books.checks += len(traces)
        failure = None
        scores = {}
        try:
            async with asyncio.timeout(max(0.0, self._request.self_eval_ms - books.ms) / 1000):
                evaluation = await self._the_evaluator().evaluate(snapshots)
            scores = books.take(traces, evaluation)
            self.probe_tokens += evaluation.generated
        except EngineDeadError as error:
            self._events.put_nowait(error)
            return
        except TimeoutError:
            failure = f"self-evaluation took longer than self_eval_ms, {self._request.self_eval_ms:g} ms"
        except ReasonpruneError as error:
            failure = error.message
        except Exception as error:
            logger.warning("The self-evaluation failed; the request goes on without it.", exc_info=True)
            failure = f"self-evaluation failed: {type(error).__name__}: {error}"
        books.ms += self.now - began
        books.failure = books.failure or failure
        self._events.put_nowait(Evaluated(tuple(traces), scores, failure))

    def _the_evaluator(self) -> SelfEvaluator:
        """Made when it is first asked, so that one that cannot be had is one that fails."""
        if self._evaluator is None:
            assert self._make_evaluator is not None, "a policy that evaluates comes with an evaluator"
            self._evaluator = self._make_evaluator(self)
        return self._evaluator

    async def force(self, snapshot: Snapshot) -> ForcedClass:
        """What a trace as it was at `snapshot` answers when forced, as a class; used by the judge `probe`."""
        prober = self._request.prober
        assert prober is not None, "a judge that forces answers comes with a prober"
        options = {k: v for k, v in self._request.generate_options.items() if k in ("lora_request", "priority")}
        name = self._child_id(f"{snapshot.trace}-judge{snapshot.tokens}-{self.judging.rounds}")
        forced = await prober.force(
            self._engine_of(snapshot.trace), self._request.prompt, snapshot.token_ids, snapshot.text, name, options
        )
        answer = await self._classes.add_async(forced.answer) if forced.answer is not None else None
        return answer, forced.generated

    async def ended(self, trace: int) -> None:
        task = self._traces[trace].task
        if not task.done():
            await asyncio.wait({task})
        if not self._traces[trace].outputs and self._error:
            raise self._error

    async def settled(self) -> None:
        """Wait until stopped traces have told their last token count, and judges what they spent."""
        if self._judging:
            _, slow = await asyncio.wait(set(self._judging), timeout=JUDGE_SETTLES_S)
            for task in slow:
                task.cancel()
        while self._background:
            await asyncio.wait(set(self._background))

    def stopped(self, trace: int) -> bool:
        return self._traces[trace].stopped

    async def outputs(self, trace: int) -> AsyncIterator[RequestOutput]:
        """A trace's outputs from the first one on, then live until it ends."""
        state = self._traces[trace]
        sent = 0
        while True:
            while sent < len(state.outputs):
                yield state.outputs[sent]
                sent += 1
            if state.task.done():
                break
            state.fresh.clear()
            await asyncio.wait(
                {state.task, waiter := asyncio.create_task(state.fresh.wait())}, return_when="FIRST_COMPLETED"
            )
            waiter.cancel()
        if not state.outputs and self._error:
            raise self._error

    async def close(self) -> None:
        """Abort all that still runs. Safe to call at any time, also while being cancelled."""
        running = [trace.task for trace in self._traces.values() if not trace.task.done()]
        open_ids = [self._child_id(i) for i, trace in self._traces.items() if not trace.task.done()]
        for task in (*running, *self._background):
            task.cancel()
        if running or self._background:
            await asyncio.gather(*running, *self._background, return_exceptions=True)
        for child in open_ids:
            with contextlib.suppress(EngineDeadError):
                await self._engine.abort(child)
