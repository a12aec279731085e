"""Keeps the log-probabilities of an answer on its way to the client, for whoever wants to score it later."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from vllm import SamplingParams
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind

logger = logging.getLogger(__name__)

Taker = Callable[[str, Sequence[int], Sequence[float]], Awaitable[None]]


class Keeper:
    """Does nothing without a `taker`, which gets text, token ids and log-probabilities of a single answer."""

    def __init__(self, taker: Taker | None) -> None:
        self._taker = taker
        self._text = ""
        self._ids: list[int] = []
        self._logprobs: list[float] = []

    def asking(self, params: SamplingParams) -> SamplingParams:
        """`params` such that the engine gives the log-probability of each sampled token; the client sees none of it."""
        if self._taker is None or params.n > 1:
            self._taker = None
            return params
        if params.logprobs is None:
            params = params.clone()
            params.logprobs = 0
        return params

    def add(self, output: RequestOutput, params: SamplingParams) -> None:
        if self._taker is None:
            return
        part = output.outputs[0]
        rows = zip(part.token_ids, part.logprobs or (), strict=False)
        logprobs = [row[token].logprob for token, row in rows]
        if params.output_kind == RequestOutputKind.DELTA:
            self._text += part.text
            self._ids += part.token_ids
            self._logprobs += logprobs
        else:
            self._text, self._ids, self._logprobs = part.text, list(part.token_ids), logprobs

    async def hand_over(self) -> None:
        if self._taker is not None and len(self._ids) == len(self._logprobs):
            try:
                await self._taker(self._text, self._ids, self._logprobs)
            except Exception:  # the answer is out; a later turn will be scored by a pass instead
                logger.exception("The log-probabilities of an answer were not kept.")
