"""Layer programs in transformers: slow and plain, what the engine's are compared with, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reasonprune.depth.program import LayerProgram


class ReferenceModel:
    """A causal language model of transformers, on the CPU in float32, without a KV cache."""

    def __init__(self, path: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self._torch = torch
        self._model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self._layers = list(self._model.model.layers)

    @property
    def layers(self) -> int:
        return len(self._layers)

    def greedy(self, prompt: Sequence[int], continuation: Sequence[int], program: LayerProgram) -> list[int]:
        """What greedy decoding gives after `prompt`, one token for each of `continuation`.

        One forward pass over both: token i is the likeliest after the first i of `continuation`. So where the two are
        equal, decoding token by token would have given `continuation`.
        """
        torch, decoder = self._torch, self._model.model
        decoder.layers = torch.nn.ModuleList(self._layers[number] for number in program.layers)
        # transformers runs as many layers as the configuration says, whatever the list holds.
        self._model.config.num_hidden_layers = program.cost
        if getattr(self._model.config, "layer_types", None):
            self._model.config.layer_types = ["full_attention"] * program.cost
        ids = torch.tensor([[*prompt, *continuation]])
        with torch.inference_mode():
            logits = self._model(input_ids=ids, use_cache=False, logits_to_keep=len(continuation) + 1).logits
        return [int(token) for token in logits[0, :-1].argmax(-1)]
