"""From the outputs of kept traces to the one request output that vLLM's serving code expects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import copy

from vllm.outputs import CompletionOutput, RequestOutput

from reasonprune.engine.live import LiveRace
from reasonprune.parallel.driver import Outcome


async def deltas(race: LiveRace, outcome: Outcome, request_id: str) -> AsyncIterator[RequestOutput]:
    """The kept traces' outputs, best trace first, each under the index of its rank; the last is marked finished."""
    last = len(outcome.kept) - 1
    for rank, trace in enumerate(outcome.kept):
        before, forced = race.forced.get(trace, (0, None)) if race.stopped(trace) else (0, None)
        sent = 0
        async for output in race.outputs(trace):
            if forced is not None and sent == before:
                break
            sent += 1
            ended = output.finished and forced is None
            yield _relabelled(output, output.outputs[0], request_id, rank, ended and rank == last)
        if forced is not None:
            closing = copy(output.outputs[0])
            closing.text, closing.token_ids = forced.text, list(forced.token_ids)
            closing.finish_reason, closing.stop_reason = "stop", None
            yield _relabelled(output, closing, request_id, rank, rank == last)


def _relabelled(
    output: RequestOutput, completion: CompletionOutput, request_id: str, rank: int, finished: bool
) -> RequestOutput:
    relabelled, completion = copy(output), copy(completion)
    completion.index = rank
    if completion.finish_reason == "abort":
        completion.finish_reason = "stop"
    relabelled.request_id = request_id
    relabelled.outputs = [completion]
    relabelled.finished = finished
    return relabelled


async def merged(outputs: AsyncIterator[RequestOutput]) -> RequestOutput:
    """All deltas as one final output with one completion per rank."""
    final: RequestOutput | None = None
    completions: dict[int, CompletionOutput] = {}
    async for output in outputs:
        final = output
        delta = output.outputs[0]
        whole = completions.get(delta.index)
        if whole is None:
            completions[delta.index] = delta
            continue
        whole.text += delta.text
        whole.token_ids = [*whole.token_ids, *delta.token_ids]
        if delta.logprobs is not None:
            whole.logprobs = [*(whole.logprobs or ()), *delta.logprobs]
        whole.cumulative_logprob = delta.cumulative_logprob
        whole.finish_reason, whole.stop_reason = delta.finish_reason, delta.stop_reason
    assert final is not None, "a kept trace has outputs or raises"
    final.outputs = [completions[rank] for rank in sorted(completions)]
    final.finished = True
    return final
