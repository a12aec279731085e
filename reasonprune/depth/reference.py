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

    def greedy(self, prompt: Sequence[int], program: LayerProgram, tokens: int) -> list[int]:
        """`tokens` token ids after `prompt`; does not stop at the end of a text."""
        torch, decoder = self._torch, self._model.model
        decoder.layers = torch.nn.ModuleList(self._layers[number] for number in program.layers)
        # transformers runs as many layers as the configuration says, whatever the list holds.
        self._model.config.num_hidden_layers = program.cost
        if getattr(self._model.config, "layer_types", None):
            self._model.config.layer_types = ["full_attention"] * program.cost
        ids = list(prompt)
        with torch.inference_mode():
            for _ in range(tokens):
                logits = self._model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=1).logits
                ids.append(int(logits[0, -1].argmax()))
        return ids[len(prompt) :]
