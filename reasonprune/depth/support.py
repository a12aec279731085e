"""What an engine can do with layer programs, read off its configuration; the same in the server and in the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CONFIG_KEY = "reasonprune_depth_slots"  # in vLLM's `additional_config`
ARCHITECTURES = ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
RUNNER_CLASSES = ("reasonprune.engine.worker.CPUWorker",)


@dataclass(frozen=True)
class DepthSupport:
    """`layers` of the model, `slots` of KV cache for a request; `reason`: why programs cannot run, None if they can.

    `no_draft`: why a program that skips layers cannot draft for speculation, None where it can.
    """

    layers: int
    slots: int
    reason: str | None = None
    no_draft: str | None = None


def support_of(vllm_config: Any) -> DepthSupport:
    """What the engine with this configuration can do."""
    layers = getattr(vllm_config.model_config.hf_text_config, "num_hidden_layers", 0)
    worker = vllm_config.parallel_config.worker_cls
    reason, no_draft = unsupported(vllm_config), undraftable(vllm_config)
    if worker not in RUNNER_CLASSES:
        wrong = f"this engine's worker does not run layer programs; start it with --worker-cls {RUNNER_CLASSES[0]}"
        reason, no_draft = reason or wrong, no_draft or wrong
    return DepthSupport(layers, layers + extra_slots(vllm_config), reason, no_draft)


def extra_slots(vllm_config: Any) -> int:
    """KV cache slots beyond the model's layers, for programs that are longer than the model."""
    configured = vllm_config.additional_config
    return int(configured.get(CONFIG_KEY, 0)) if isinstance(configured, dict) else 0


def unsupported(vllm_config: Any) -> str | None:
    """Why programs cannot run with this model and these features, None if they can."""
    if reason := _unfit(vllm_config):
        return reason
    if vllm_config.speculative_config is not None:
        return (
            "layer programs and speculative decoding do not go together; start without --speculative-config, or let"
            " the program draft (speculative.layers)"
        )
    if vllm_config.kv_transfer_config is not None:
        return "layer programs and KV cache transfer do not go together; start the engine without --kv-transfer-config"
    return None


def undraftable(vllm_config: Any) -> str | None:
    """Why a program cannot draft for speculation with this model and these features, None if it can."""
    speculation = vllm_config.speculative_config
    if speculation is not None and speculation.method != "custom_class":
        return f"this server drafts by the method {speculation.method}; start it with --reasonprune.server.draft_tokens"
    return _unfit(vllm_config)


def draftable(layers: tuple[int, ...], of: int) -> bool:
    """Whether these layers of a model that has `of` can draft: ascending, and not all of them.

    A repeated layer would need KV cache of its own, which drafts do not have.
    """
    inside = all(isinstance(layer, int) and 0 <= layer < of for layer in layers)
    return inside and 0 < len(layers) < of and list(layers) == sorted(set(layers))


def _unfit(vllm_config: Any) -> str | None:
    model, parallel = vllm_config.model_config, vllm_config.parallel_config
    found = model.hf_config.architectures or ["unknown"]
    if not set(found) & set(ARCHITECTURES):
        return f"the architecture {found[0]} is not supported; supported are {', '.join(ARCHITECTURES)}"
    if "sliding_attention" in (getattr(model.hf_text_config, "layer_types", None) or ()):
        return "the model has layers with a sliding window, whose KV cache cannot stand in for that of other layers"
    graphs = getattr(vllm_config.compilation_config.cudagraph_mode, "name", "NONE")
    if vllm_config.device_config.device_type != "cpu" and graphs != "NONE":
        return "this engine replays recorded graphs of all layers; start it with --enforce-eager"
    if parallel.pipeline_parallel_size > 1 or parallel.tensor_parallel_size > 1:
        return "layer programs run on one device only; start the engine without pipeline and tensor parallelism"
    if vllm_config.lora_config is not None:
        return "layer programs and LoRA adapters do not go together; start the engine without --enable-lora"
    return None
