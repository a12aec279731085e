"""The served model, or one of an engine in this process, as what the pipeline asks."""

from __future__ import annotations

from itertools import count
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from reasonprune.engine.chat import prompt_ids
from reasonprune.graph.advisor import Reply

NUMBERS = count()
MARGIN = 16  # tokens that a prompt cut to length leaves free beside the reply


class EngineModel:
    """Asks through an engine client. Prompts of one question begin alike: the engine's prefix cache reads that once."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    async def reply(self, prompt: str, max_tokens: int, temperature: float) -> Reply:
        tokenizer = self._engine.get_tokenizer()
        ids = prompt_ids(tokenizer, [{"role": "user", "content": prompt}])
        room = self._engine.model_config.max_model_len - max_tokens - MARGIN
        if len(ids) > room:
            raise ValueError(f"the prompt takes {len(ids)} tokens, and the model has room for {room}")
        params = SamplingParams(
            max_tokens=max_tokens, temperature=temperature, output_kind=RequestOutputKind.FINAL_ONLY
        )
        final = None
        tokens = {"type": "token", "prompt_token_ids": ids}
        async for output in self._engine.generate(tokens, params, f"graph-{next(NUMBERS)}"):
            final = output.outputs[0]
        assert final is not None, "the engine ends every request with an output"
        return Reply(final.text, len(ids), len(final.token_ids))
