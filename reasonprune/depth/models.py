"""vLLM's Llama, Qwen2 and Qwen3 with a layer program per request. Without one: vLLM's own forward."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from vllm import ModelRegistry
from vllm.config import VllmConfig
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.models.llama import LlamaForCausalLM
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM

from reasonprune.depth.batch import Batch, run_mixed, run_uniform
from reasonprune.depth.support import extra_slots, unsupported


class LayerPrograms(nn.Module):  # type: ignore[misc]
    """Mixed into a vLLM model class whose layers are `self.model.layers`; the runner sets `batch` before a step.

    Slots of KV cache: those of the model's layers, in order, then the extra ones of the engine's configuration.
    """

    model: Any

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "", **more: Any) -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix, **more)
        self.batch: Batch | None = None
        if unsupported(vllm_config):
            return
        own = [layer.self_attn.attn for layer in self.model.layers]
        self.extra_slots = nn.ModuleList(
            Attention(
                own[0].num_heads,
                own[0].head_size,
                own[0].impl.scale,
                num_kv_heads=own[0].num_kv_heads,
                cache_config=vllm_config.cache_config,
                quant_config=vllm_config.quant_config,
                prefix=own[0].layer_name.replace(".0.", f".{number}."),
            )
            for number in range(len(own), len(own) + extra_slots(vllm_config))
        )
        self._slots = [*own, *self.extra_slots]

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        **more: Any,
    ) -> Any:
        batch = self.batch
        if batch is None:
            return super().forward(input_ids, positions, intermediate_tensors, inputs_embeds, **more)
        hidden = self.model.embed_input_ids(input_ids) if inputs_embeds is None else inputs_embeds.clone()
        layers = self.model.layers
        if len(batch.programs) == 1:
            hidden, residual = run_uniform(layers, self._slots, batch.programs[0], positions, hidden)
        else:
            hidden, residual = run_mixed(layers, self._slots, batch, positions, hidden)
        return self.model.norm(hidden, residual)[0]


class LlamaPrograms(LayerPrograms, LlamaForCausalLM):  # type: ignore[misc]
    """Llama, and what shares its class, such as SmolLM2 and TinyReasoner."""


class Qwen2Programs(LayerPrograms, Qwen2ForCausalLM):  # type: ignore[misc]
    """Qwen2 and Qwen2.5."""


class Qwen3Programs(LayerPrograms, Qwen3ForCausalLM):  # type: ignore[misc]
    """Qwen3, the dense ones."""


CLASSES = {"LlamaForCausalLM": LlamaPrograms, "Qwen2ForCausalLM": Qwen2Programs, "Qwen3ForCausalLM": Qwen3Programs}


def register() -> None:
    """In the engine's process, before it loads its model: our classes take the place of vLLM's own."""
    for architecture, model in CLASSES.items():
        ModelRegistry.register_model(architecture, model)
