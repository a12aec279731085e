"""The part of our worker that scores traces inside the engine step, on the hidden states the step has computed anyway.

A request is scored where its `extra_args` name a head; all others are not touched. Scores are fetched by
`collective_rpc` between two steps.
"""

from __future__ import annotations

import time
from array import array
from collections import OrderedDict
from dataclasses import dataclass, field
from operator import is_
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from reasonprune.selfeval.log_softmax import gather, log_softmax

if TYPE_CHECKING:
    from reasonprune.selfeval.head import ValueHead

ARGUMENT = "reasonprune_self_eval"
"""Of `SamplingParams.extra_args`: [name to fetch the scores by, tokens between two of them]."""
STEPS_AT_ONCE = 16  # that are taken in together, unless scores are asked for before
KEPT_LOGITS = 1 << 15  # of a step, at most; between two steps each operation begins with cold caches
MOST_TRACES = 4096  # that are remembered; those of a client that left are never fetched


@dataclass
class _Trace:
    """`tokens`, `states` and `row`: where the latest hidden state is, and after how many tokens; scored when asked.

    `ended`: a token of `stops` was sampled from it; what a limit or a stop string ends is on its way, seen from here.
    `logprobs`: of all tokens sampled, of which the state has read the first `tokens`.
    `history`: (tokens, row of `ValueHead.values`) at every so many tokens.
    """

    every: int
    stops: frozenset[int]
    tokens: int = 0
    ended: bool = False
    logprobs: array[float] = field(default_factory=lambda: array("f"))
    states: torch.Tensor | None = None
    row: int = 0
    history: list[tuple[int, list[float]]] = field(default_factory=list)


class _Moment(NamedTuple):
    """A trace after so many tokens, with its hidden state then, (width,), and whether it ended there."""

    trace: _Trace
    tokens: int
    state: torch.Tensor
    ended: bool


_Marked = tuple[list[_Trace], list[int], list[Any]]
"""Traces with their rows in the batch and their requests."""


@dataclass
class _Step:
    """What one step has of the marked requests, row by row; looked into when scores are due, not between two steps.

    `tokens`: how many were sampled before it. `sampled`: those sampled in it, (rows, 1); `logprobs`: theirs, in parts.
    `logits`: (rows, vocabulary) from before the sampler, where they are few enough to be kept instead.
    """

    traces: list[_Trace]
    rows: list[int]
    tokens: list[int]
    states: torch.Tensor
    sampled: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    logprobs: tuple[torch.Tensor, ...] = ()
    logits: torch.Tensor | None = None


class HeadRunner:
    """Mixin of a model runner: keeps the state from which each marked request's next token is sampled."""

    _value_head: ValueHead | None = None
    _folder = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.value_traces: OrderedDict[str, _Trace] = OrderedDict()
        self.value_ms = 0.0  # spent here since the start
        self._batch: list[Any] = []  # its requests, and which of them are marked
        self._of_batch: _Marked = ([], [], [])
        self._step: _Step | None = None
        self._steps: list[_Step] = []

    def load_value_head(self, folder: str) -> str:
        """Loads the head unless there is one; gives the folder of the one in use. Raises ModelError."""
        from reasonprune.selfeval.head import ValueHead

        if self._value_head is None:
            self._value_head = ValueHead.load(Path(folder)).to(self.device)  # type: ignore[attr-defined]
            self._folder = folder
        return self._folder

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def sample_tokens(self, grammar_output: Any) -> Any:
        state = self.execute_model_state  # type: ignore[attr-defined]
        self._step = None
        # With drafts a request has several rows, and how many of its tokens hold is not known before sampling.
        if self._value_head is not None and state is not None and state.spec_decode_metadata is None:
            began = time.perf_counter()
            self._keep(state)
            self.value_ms += (time.perf_counter() - began) * 1000
        return super().sample_tokens(grammar_output)  # type: ignore[misc]

    def _keep(self, state: Any) -> None:
        batch = self.input_batch  # type: ignore[attr-defined]
        requests = [self.requests[request_id] for request_id in batch.req_ids[: batch.num_reqs]]  # type: ignore[attr-defined]
        if len(requests) != len(self._batch) or not all(map(is_, requests, self._batch)):
            self._batch, self._of_batch = requests, self._find_marked(requests)
        traces, rows, of_rows = self._of_batch
        if rows:
            partial = self.discard_request_mask.np[: len(requests)]  # type: ignore[attr-defined]
            if partial.any():
                whole = [i for i, row in enumerate(rows) if not partial[row]]
                traces, rows, of_rows = (
                    [traces[i] for i in whole],
                    [rows[i] for i in whole],
                    [of_rows[i] for i in whole],
                )
        if rows:
            tokens = [len(request.output_token_ids) for request in of_rows]
            self._step = _Step(traces, rows, tokens, state.sample_hidden_states)

    def _find_marked(self, requests: list[Any]) -> _Marked:
        traces, rows, of_rows = [], [], []
        for row, request in enumerate(requests):
            params = request.sampling_params
            mark = (params.extra_args or {}).get(ARGUMENT) if params else None
            if mark is not None:
                stops = frozenset([*(params.stop_token_ids or ()), params.eos_token_id])
                name, every = mark
                traces.append(self._trace(name, every, stops))
                rows.append(row)
                of_rows.append(request)
        return traces, rows, of_rows

    def _take_in(self) -> None:
        """Enters what the steps so far have left; scores that are due are computed together."""
        steps, self._steps = self._steps, []
        due: list[_Moment] = []
        _look_up([step for step in steps if step.logits is not None])
        for step in steps:
            logprobs, sampled = torch.cat(step.logprobs)[:, 0].tolist(), step.sampled[:, 0].tolist()
            rows = zip(step.traces, step.rows, step.tokens, sampled, logprobs, strict=True)
            for trace, row, tokens, token, logprob in rows:
                trace.tokens, trace.states, trace.row, trace.ended = tokens, step.states, row, token in trace.stops
                trace.logprobs.append(logprob)
                if trace.every and tokens and tokens % trace.every == 0:
                    due.append(_Moment(trace, tokens, step.states[row], trace.ended))
        for moment, values in zip(due, self._values(due), strict=True):
            moment.trace.history.append((moment.tokens, values))

    def _values(self, moments: list[_Moment]) -> list[list[float]]:
        """Rows of `ValueHead.values`."""
        from reasonprune.selfeval.head import with_trails

        if not moments:
            return []
        assert self._value_head is not None
        read = [moment.trace.logprobs[: moment.tokens] for moment in moments]
        inputs = with_trails(torch.stack([moment.state for moment in moments]), read)
        ended = torch.tensor([moment.ended for moment in moments], device=inputs.device)
        values: list[list[float]] = self._value_head.values(inputs, ended).tolist()
        return values

    def _sample(self, logits: torch.Tensor | None, spec_decode_metadata: Any) -> Any:
        """Notes how likely the sampled tokens were, before the sampler scales the logits in place."""
        step, self._step = self._step, None
        if step is None or logits is None:
            return super()._sample(logits, spec_decode_metadata)  # type: ignore[misc]
        began = time.perf_counter()
        rows = None if len(step.rows) == len(logits) else torch.tensor(step.rows)
        picked = logits if rows is None else logits[rows]
        keep = picked.numel() <= KEPT_LOGITS
        step.logits = picked.clone() if keep else None
        likely = () if keep else log_softmax(picked)
        self.value_ms += (time.perf_counter() - began) * 1000
        output = super()._sample(logits, spec_decode_metadata)  # type: ignore[misc]
        began = time.perf_counter()
        step.sampled = output.sampled_token_ids if rows is None else output.sampled_token_ids[rows]
        step.logprobs = () if keep else gather(likely, step.sampled)
        self._steps.append(step)
        if len(self._steps) >= STEPS_AT_ONCE:
            self._take_in()
        self.value_ms += (time.perf_counter() - began) * 1000
        return output

    def _trace(self, name: str, every: int, stops: frozenset[int]) -> _Trace:
        trace = self.value_traces.get(name)
        if trace is None:
            trace = self.value_traces[name] = _Trace(every, stops)
            while len(self.value_traces) > MOST_TRACES:
                self.value_traces.popitem(last=False)
        return trace

    def fetch_values(self, names: list[str], forget: bool) -> tuple[list[Any], float]:
        """(tokens, values, history) of each trace, None where it is not known; and milliseconds spent so far."""
        began = time.perf_counter()
        self._take_in()
        kept = self.value_traces
        found = {
            name: _Moment(trace, trace.tokens, trace.states[trace.row], trace.ended)
            for name in names
            if (trace := kept.get(name)) is not None and trace.states is not None
        }
        latest = dict(zip(found, self._values(list(found.values())), strict=True))
        rows = [(found[n].tokens, latest[n], found[n].trace.history) if n in found else None for n in names]
        for name in names if forget else ():
            kept.pop(name, None)
        self.value_ms += (time.perf_counter() - began) * 1000
        return rows, self.value_ms


def _look_up(steps: list[_Step]) -> None:
    """Log-probabilities of what was sampled, for steps that have kept their logits."""
    if steps:
        likely = log_softmax(torch.cat([step.logits for step in steps if step.logits is not None]))
        found = torch.cat(gather(likely, torch.cat([step.sampled for step in steps])))
        for step, of_step in zip(steps, found.split([len(step.rows) for step in steps]), strict=True):
            step.logprobs, step.logits = (of_step,), None


class HeadWorker:
    """Mixin of a worker: what `collective_rpc` can call."""

    def load_value_head(self, folder: str) -> str:
        loaded: str = self.model_runner.load_value_head(folder)  # type: ignore[attr-defined]
        return loaded

    def fetch_values(self, names: list[str], forget: bool = False) -> tuple[list[Any], float]:
        found: tuple[list[Any], float] = self.model_runner.fetch_values(names, forget)  # type: ignore[attr-defined]
        return found
