"""Training on a few recorded traces of TinyReasoner: that the parts fit, not what they reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch; run `make setup`")
transformers = pytest.importorskip("transformers", reason="needs transformers; run `make setup`")
pytest.importorskip("sklearn", reason="needs the extra self-eval; run `make setup`")

import numpy as np

from reasonprune.errors import RequestError
from reasonprune.models import resolve
from reasonprune.selfeval.trained import describe, find
from reasonprune.train.samples import SHARES
from reasonprune.train.self_eval import PLOT, SelfEvalConfig, train_self_eval, trained_kind
from reasonprune.train.self_eval_adapter import AdapterConfig
from reasonprune.train.self_eval_head import HeadConfig, States, train_head


def states(count: int, seed: int) -> States:
    """Ten traces a question at each share; the first component says whether a trace is right, the second how long."""
    torch.manual_seed(seed)
    values = torch.randn(count, 4)
    right = (values[:, 0] + 0.3 * torch.randn(count) > 0).float()
    remaining = (values[:, 1] + 4).clamp(0).exp()
    share = np.tile(np.repeat(SHARES, 10), count // 40 + 1)[:count]
    return States(values, right, right * 0.5 + 0.5, remaining, np.arange(count) // 40, share)


def test_a_head_learns_who_is_right_and_how_long_it_takes() -> None:
    config = HeadConfig(hidden=16, epochs=20, batch=100, learning_rate=1e-2)
    head, how = train_head(states(2000, 0), states(400, 1), config)
    assert how["validation_auroc_within"] > 0.9
    test = states(400, 2)
    values = head.values(test.states)
    near, far = test.remaining < 20, test.remaining > 200
    assert values[near, 2].mean() < values[far, 2].mean() / 3
    assert abs(float(values[:, 0].mean() - test.right.mean())) < 0.1
    assert float((values[:, 1] - test.unbeaten).abs().mean()) < 0.25


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written traces of 20 sums, one half with a slip."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(resolve("tiny").path)
    rows = []
    for i in range(20):
        question, traces = f"Start with {i}, add 1. What do you get?", []
        for k in range(4):
            result = i + 1 + k % 2
            text = f"<think>\n{i}+1={result}.\n</think>\n\nThe answer is \\boxed{{{result}}}."
            ids = [*tokenizer.encode(text), tokenizer.eos_token_id]
            logprobs = [-0.1 - k % 2] * len(ids)
            traces.append(
                {"text": text, "token_ids": ids, "logprobs": logprobs, "answer": str(result), "finish_reason": "stop"}
            )
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
        ids = list(prompt["input_ids"]) if not isinstance(prompt, list) else prompt
        rows.append({"question": question, "gold": str(i + 1), "prompt_token_ids": ids, "model": "tiny"})
        rows[-1]["traces"] = traces
    file = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("kind", ["head", "adapter"])
def test_what_is_trained_is_found_for_its_model(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    if kind == "adapter":
        pytest.importorskip("peft", reason="needs the extra self-eval; run `make setup`")
    monkeypatch.setenv("REASONPRUNE_CACHE", str(tmp_path))
    small = SelfEvalConfig(kind, head=HeadConfig(epochs=1), adapter=AdapterConfig(rank=8, steps=2, batch=2))
    folder, training = train_self_eval(pool, None, small)
    assert find(resolve("tiny").path, kind) == folder
    assert (folder / PLOT).is_file()
    description = describe(folder)
    assert description["training"]["test"].keys() == {"0.25", "0.5", "0.75", "1"}
    assert len(training["seen"]) == training["questions"]["train"] + training["questions"]["validation"]
    assert str(tmp_path) not in json.dumps(description)
    if kind == "adapter":
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "tiny"
        assert (folder / "adapter_model.safetensors").is_file()


def test_only_two_kinds_are_trained() -> None:
    assert trained_kind("head") == "head"
    with pytest.raises(RequestError, match="verbal needs no training"):
        trained_kind("verbal")
