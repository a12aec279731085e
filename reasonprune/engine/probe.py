"""Forcing an answer from an unfinished trace: its tokens, a suffix that opens a box, and a few greedy tokens more.

The prefix is in the engine's cache, so a probe costs little beyond the tokens that it generates (the idea of
Parallel-Probe, arXiv 2602.03845, and Dynasor).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from reasonprune.answers import extract_answer

SUFFIX = "\n\nThe final answer is \\boxed{"
SUFFIX_IN_THOUGHT = "\n</think>" + SUFFIX


@dataclass(frozen=True)
class Forced:
    """What closes a trace by force: the suffix and the answer written after it; `generated` tokens were sampled."""

    answer: str | None
    text: str
    token_ids: tuple[int, ...]
    generated: int


@dataclass(frozen=True)
class Prober:
    """The suffixes in a model's own tokens, and the most tokens an answer may take."""

    suffix: tuple[int, ...]
    suffix_in_thought: tuple[int, ...]
    answer_tokens: int

    @classmethod
    def of(cls, tokenizer: Any, answer_tokens: int) -> Prober:
        def ids(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text, add_special_tokens=False))

        return cls(ids(SUFFIX), ids(SUFFIX_IN_THOUGHT), answer_tokens)

    async def force(
        self,
        engine: Any,
        prompt: Mapping[str, Any],
        token_ids: Sequence[int],
        text: str,
        request_id: str,
        options: Mapping[str, Any],
    ) -> Forced:
        """The answer that a trace of `token_ids` (`text`, which shows whether it still thinks) gives when forced."""
        thinking = "<think>" in text and "</think>" not in text
        suffix, suffix_text = (self.suffix_in_thought, SUFFIX_IN_THOUGHT) if thinking else (self.suffix, SUFFIX)
        extended = {"type": "token", "prompt_token_ids": [*prompt["prompt_token_ids"], *token_ids, *suffix]}
        if "cache_salt" in prompt:
            extended["cache_salt"] = prompt["cache_salt"]
        params = SamplingParams(
            max_tokens=self.answer_tokens,
            temperature=0,
            stop=["}"],
            include_stop_str_in_output=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        written, ids = "", ()
        async for output in engine.generate(extended, params, request_id, **options):
            written, ids = output.outputs[0].text, tuple(output.outputs[0].token_ids)
        answer = extract_answer("\\boxed{" + written, "boxed")
        return Forced(answer, suffix_text + written, (*suffix, *ids), len(ids))
