"""The part of our model runner that tells the model, before each step, which program every row of the batch runs."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from vllm.forward_context import get_forward_context

from reasonprune.depth.batch import Batch
from reasonprune.depth.models import LayerPrograms
from reasonprune.depth.program import LayerProgram
from reasonprune.depth.request import PROGRAM_ARGUMENT
from reasonprune.depth.support import DepthSupport, support_of

logger = logging.getLogger(__name__)


class DepthRunner:
    """Mixed into a `GPUModelRunner` or `CPUModelRunner` of vLLM, in front of it."""

    model: Any
    input_batch: Any
    requests: Any
    attn_groups: Any
    vllm_config: Any

    def _model_forward(self, *args: Any, **kwargs: Any) -> Any:
        programs = self._programs()
        if programs is None:
            return super()._model_forward(*args, **kwargs)  # type: ignore[misc]
        metadata = next(iter(get_forward_context().attn_metadata.values()))
        self.model.batch = Batch(programs, metadata, self._build)
        try:
            return super()._model_forward(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.model.batch = None

    def _programs(self) -> list[tuple[int, ...]] | None:
        """By row; None where every request runs the model as it is."""
        written = [_written(self.requests[request].sampling_params) for request in self.input_batch.req_ids]
        if not any(written) or not isinstance(self.model, LayerPrograms):
            return None
        support = self._support()
        programs = [_layers(text, support) for text in written]
        full = tuple(range(support.layers))
        return None if all(program == full for program in programs) else programs

    def _support(self) -> DepthSupport:
        if not hasattr(self, "_depth_support"):
            self._depth_support = support_of(self.vllm_config)
        return self._depth_support

    def _build(self, common: Any) -> Any:
        builder = self.attn_groups[0][0].get_metadata_builder(0)
        return builder.build(common_prefix_len=0, common_attn_metadata=common)


def _written(params: Any) -> str | None:
    if params is None or not params.extra_args:
        return None
    text = params.extra_args.get(PROGRAM_ARGUMENT)
    return text if isinstance(text, str) else None


@lru_cache(maxsize=4096)
def _layers(text: str | None, support: DepthSupport) -> tuple[int, ...]:
    """A program that cannot run here runs full depth: what goes wrong in the engine's step ends it for all users."""
    full = tuple(range(support.layers))
    if not text:
        return full
    try:
        program = LayerProgram.parse(text)
        problem = support.reason or program.problem(support.layers, support.slots)
    except ValueError as error:
        problem = str(error)
    if problem is None:
        return program.layers
    logger.error("A layer program that was not checked reached the engine and was not run: %s", problem)
    return full
