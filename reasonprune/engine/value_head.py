"""The part of our worker that scores traces inside the engine step, on the hidden states the step has computed anyway.

A request is scored where its `extra_args` name a head; all others are not touched. Scores are fetched by
`collective_rpc` between two steps.
"""

from __future__ import annotations

import time
from array import array
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from reasonprune.selfeval.head import ValueHead

ARGUMENT = "reasonprune_self_eval"
"""Of `SamplingParams.extra_args`: [name to fetch the scores by, tokens between two of them]."""
IN_CACHE = 1 << 18  # logits that a core's cache holds while their exponentials are summed
MOST_TRACES = 4096  # that are remembered; those of a client that left are never fetched


@dataclass
class _Trace:
    """`tokens`, `states` and `row`: where the latest hidden state is, and after how many tokens; scored when asked.

    `logprobs`: of all tokens sampled, of which the state has read the first `tokens`.
    `history`: (tokens, row of `ValueHead.values`) at every so many tokens.
    """

    every: int
    tokens: int = 0
    logprobs: array[float] = field(default_factory=lambda: array("f"))
    states: torch.Tensor | None = None
    row: int = 0
    history: list[tuple[int, list[float]]] = field(default_factory=list)


class HeadRunner:
    """Mixin of a model runner: keeps the state from which each marked request's next token is sampled."""

    _value_head: ValueHead | None = None
    _folder = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.value_traces: OrderedDict[str, _Trace] = OrderedDict()
        self.value_ms = 0.0  # spent here since the start
        self._marked: list[tuple[_Trace, int]] = []  # of this step, with their rows

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
        self._marked = []
        # With drafts a request has several rows, and how many of its tokens hold is not known before sampling.
        if self._value_head is not None and state is not None and state.spec_decode_metadata is None:
            began = time.perf_counter()
            self._keep(state)
            self.value_ms += (time.perf_counter() - began) * 1000
        return super().sample_tokens(grammar_output)  # type: ignore[misc]

    def _keep(self, state: Any) -> None:
        batch = self.input_batch  # type: ignore[attr-defined]
        due: list[tuple[_Trace, int]] = []
        for row in range(batch.num_reqs):
            request = self.requests[batch.req_ids[row]]  # type: ignore[attr-defined]
            mark = (request.sampling_params.extra_args or {}).get(ARGUMENT) if request.sampling_params else None
            partial = bool(self.discard_request_mask.np[row])  # type: ignore[attr-defined]
            if mark is not None and not partial:
                trace = self._trace(*mark)
                trace.tokens, trace.states, trace.row = len(request.output_token_ids), state.sample_hidden_states, row
                if trace.every and trace.tokens and trace.tokens % trace.every == 0:
                    due.append((trace, row))
                self._marked.append((trace, row))
        if due:
            values = self._values([trace for trace, _ in due])
            for (trace, _), value in zip(due, values, strict=True):
                trace.history.append((trace.tokens, value))

    def _values(self, traces: list[_Trace]) -> list[list[float]]:
        """Rows of `ValueHead.values`, of traces that have a state."""
        from reasonprune.selfeval.trail import trail

        assert self._value_head is not None
        states = torch.stack([trace.states[trace.row] for trace in traces if trace.states is not None]).float()
        trails = torch.tensor([trail(trace.logprobs[: trace.tokens]) for trace in traces]).to(states.device)
        values: list[list[float]] = self._value_head.values(torch.cat([states, trails], dim=1)).tolist()
        return values

    def _sample(self, logits: torch.Tensor | None, spec_decode_metadata: Any) -> Any:
        """Notes how likely the sampled tokens were, before the sampler scales the logits in place."""
        marked, self._marked = self._marked, []
        if not marked or logits is None:
            return super()._sample(logits, spec_decode_metadata)  # type: ignore[misc]
        began = time.perf_counter()
        rows = [row for _, row in marked]
        # The sampler works on a float32 copy, and in place where the logits are float32 already.
        raw = logits[rows] if logits.dtype == torch.float32 else None
        normalizers = _normalizers(logits, rows)
        self.value_ms += (time.perf_counter() - began) * 1000
        output = super()._sample(logits, spec_decode_metadata)  # type: ignore[misc]
        began = time.perf_counter()
        sampled = output.sampled_token_ids[rows, 0].to(torch.long)
        places = torch.tensor(rows, device=logits.device)
        chosen = logits[places, sampled] if raw is None else raw.gather(1, sampled[:, None])[:, 0]
        for (trace, _), found in zip(marked, (chosen.float() - normalizers).tolist(), strict=True):
            trace.logprobs.append(found)
        self.value_ms += (time.perf_counter() - began) * 1000
        return output

    def _trace(self, name: str, every: int) -> _Trace:
        trace = self.value_traces.get(name)
        if trace is None:
            trace = self.value_traces[name] = _Trace(every)
            while len(self.value_traces) > MOST_TRACES:
                self.value_traces.popitem(last=False)
        return trace

    def fetch_values(self, names: list[str], forget: bool) -> tuple[list[Any], float]:
        """(tokens, values, history) of each trace, None where it is not known; and milliseconds spent so far."""
        began = time.perf_counter()
        kept = self.value_traces
        found = {name: trace for name in names if (trace := kept.get(name)) is not None and trace.states is not None}
        values = self._values(list(found.values())) if found else []
        latest = dict(zip(found, values, strict=True))
        rows = [(found[n].tokens, latest[n], found[n].history) if n in found else None for n in names]
        for name in names if forget else ():
            kept.pop(name, None)
        self.value_ms += (time.perf_counter() - began) * 1000
        return rows, self.value_ms


def _normalizers(logits: torch.Tensor, rows: list[int]) -> torch.Tensor:
    """Log of the sum of exponentials of each row, (rows,) in float32.

    On CPUs as many rows at a time as stay in the cache, which of a large vocabulary is one.
    """
    picked = logits if rows == list(range(len(logits))) else logits[rows]
    at_once = max(1, IN_CACHE // logits.shape[1]) if logits.device.type == "cpu" else len(rows)
    return torch.cat([part.float().logsumexp(1) for part in picked.split(at_once)])


class HeadWorker:
    """Mixin of a worker: what `collective_rpc` can call."""

    def load_value_head(self, folder: str) -> str:
        loaded: str = self.model_runner.load_value_head(folder)  # type: ignore[attr-defined]
        return loaded

    def fetch_values(self, names: list[str], forget: bool = False) -> tuple[list[Any], float]:
        found: tuple[list[Any], float] = self.model_runner.fetch_values(names, forget)  # type: ignore[attr-defined]
        return found
