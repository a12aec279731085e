"""What an engine is said to be able to do; configurations are stood in for, since most of them need another machine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from reasonprune.depth.support import CONFIG_KEY, RUNNER_CLASSES, DepthSupport, support_of


def config(**changes):
    values = {
        "architectures": ["Qwen2ForCausalLM"],
        "layer_types": ["full_attention"],
        "worker": RUNNER_CLASSES[0],
        "device": "cpu",
        "graphs": "FULL",  # a default that means nothing on CPUs
        "pipeline": 1,
        "tensor": 1,
        "lora": None,
        "speculative": None,
        "transfer": None,
        "additional": {CONFIG_KEY: 4},
    } | changes
    text = SimpleNamespace(num_hidden_layers=24, layer_types=values["layer_types"])
    return SimpleNamespace(
        model_config=SimpleNamespace(
            hf_config=SimpleNamespace(architectures=values["architectures"]), hf_text_config=text
        ),
        parallel_config=SimpleNamespace(
            worker_cls=values["worker"],
            pipeline_parallel_size=values["pipeline"],
            tensor_parallel_size=values["tensor"],
        ),
        device_config=SimpleNamespace(device_type=values["device"]),
        compilation_config=SimpleNamespace(cudagraph_mode=SimpleNamespace(name=values["graphs"])),
        lora_config=values["lora"],
        speculative_config=values["speculative"],
        kv_transfer_config=values["transfer"],
        additional_config=values["additional"],
    )


def test_what_is_supported():
    assert support_of(config()) == DepthSupport(24, 28)
    assert support_of(config(additional={})) == DepthSupport(24, 24)
    assert support_of(config(device="cuda", graphs="NONE")) == DepthSupport(24, 28)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"speculative": SimpleNamespace(method="eagle3")}, "drafts by the method eagle3"),
        ({"lora": object()}, "--enable-lora"),
        ({"worker": "auto"}, "--worker-cls"),
    ],
)
def test_where_layers_cannot_draft_it_is_told(changes, words):
    assert words in support_of(config(**changes)).no_draft


def test_layers_may_draft_where_programs_may_not_run():
    found = support_of(config(speculative=SimpleNamespace(method="custom_class")))
    assert found.no_draft is None
    assert "let the program draft" in found.reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"architectures": ["GptOssForCausalLM"]},
            "GptOssForCausalLM is not supported; supported are Llama",
        ),
        ({"architectures": None}, "the architecture unknown"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding window"),
        ({"device": "cuda"}, "--enforce-eager"),
        ({"pipeline": 2}, "one device"),
        ({"tensor": 2}, "one device"),
        ({"lora": object()}, "--enable-lora"),
        ({"speculative": SimpleNamespace(method="ngram")}, "--speculative-config"),
        ({"transfer": object()}, "--kv-transfer-config"),
        ({"worker": "auto"}, "--worker-cls reasonprune.engine.worker.CPUWorker"),
    ],
)
def test_what_is_not_supported_is_named_with_the_remedy(changes, words):
    assert words in support_of(config(**changes)).reason
