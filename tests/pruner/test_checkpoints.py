"""Small checkpoints, written as the published ones are, give what their own networks give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from reasonprune.errors import ModelError
from reasonprune.pruner import ContextPruner

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", ".", "?", "how", "tall", "the", "tower", "is", "330", "bees", "fly", "far"]
QUESTION, CONTEXT = "how tall ?", "the tower is 330 . bees fly far ."
SMALL = {"vocab_size": 15, "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 37}
SMALL |= {"pad_token_id": 0, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}


def tokenizer_in(folder: Path) -> Any:
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, model_input_names=["input_ids", "attention_mask"], **names
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def heads() -> dict[str, Any]:
    return {"token_classifier.weight": torch.randn(2, 32), "token_classifier.bias": torch.randn(2)}


Reference = Callable[..., tuple[Any, Any]]


def provence(folder: Path) -> Reference:
    config = DebertaV2Config(
        **SMALL, max_position_embeddings=64, relative_attention=True, pos_att_type=["p2c", "c2p"], num_labels=1,
        pooler_hidden_size=32, norm_rel_ebd="layer_norm", share_att_key=True, position_buckets=16,
    )  # fmt: skip
    model, keep = DebertaV2ForSequenceClassification(config).eval(), heads()
    save_file({**model.state_dict(), **keep}, folder / "model.safetensors")
    written = config.to_dict() | {"model_type": "Provence", "architectures": ["Provence"]}
    written["auto_map"] = {"AutoModel": "modeling_provence.Provence"}
    (folder / "config.json").write_text(json.dumps(written))
    (folder / "modeling_provence.py").write_text("raise SystemExit('remote code was run')")

    def reference(**inputs: Any) -> tuple[Any, Any]:
        states = model.deberta(**inputs).last_hidden_state
        logits = states @ keep["token_classifier.weight"].T + keep["token_classifier.bias"]
        return logits.softmax(-1)[..., 1], model(**inputs).logits[:, 0]

    return reference


def xprovence(folder: Path) -> Reference:
    config = XLMRobertaConfig(**SMALL, max_position_embeddings=66, num_labels=1)
    model, keep = XLMRobertaModel(config).eval(), heads()
    rank = {"classifier.weight": torch.randn(1, 32), "classifier.bias": torch.randn(1)}
    tensors = {f"roberta.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({**tensors, **keep, **rank}, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(config.to_dict() | {"model_type": "XProvence"}))

    def reference(**inputs: Any) -> tuple[Any, Any]:
        output = model(**inputs)
        logits = output.last_hidden_state @ keep["token_classifier.weight"].T + keep["token_classifier.bias"]
        ranking = output.pooler_output @ rank["classifier.weight"].T + rank["classifier.bias"]
        return logits.softmax(-1)[..., 1], ranking[:, 0]

    return reference


def open_provence(folder: Path) -> Reference:
    config = ModernBertConfig(**SMALL, max_position_embeddings=64, num_labels=1, classifier_pooling="cls")
    model = ModernBertForSequenceClassification(config).eval()
    head = {"weight": torch.randn(2, 32), "bias": torch.randn(2)}
    tensors = {f"ranking_model.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    save_file(tensors | {f"pruning_head.classifier.{k}": v for k, v in head.items()}, folder / "model.safetensors")
    written = {
        "model_type": "open_provence",
        "base_model_config": config.to_dict(),
        "pruning_config": {"hidden_size": 32, "num_labels": 2},
        "max_length": 48,
        "default_threadshold": 0.3,
        "num_labels": 1,
    }
    (folder / "config.json").write_text(json.dumps(written))

    def reference(**inputs: Any) -> tuple[Any, Any]:
        output = model(**inputs, output_hidden_states=True)
        logits = output.hidden_states[-1] @ head["weight"].T + head["bias"]
        return logits.softmax(-1)[..., 1], output.logits[:, 0]

    return reference


FORMATS = {"provence": provence, "xprovence": xprovence, "open_provence": open_provence}


@pytest.mark.parametrize("name", FORMATS)
def test_scores_are_those_of_the_published_network(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)  # compare in float32
    torch.manual_seed(0)
    reference, tokenizer = FORMATS[name](tmp_path), tokenizer_in(tmp_path)
    pruner = ContextPruner.from_pretrained(tmp_path)
    result = pruner.process(
        QUESTION, [[*CONTEXT.partition(" . ")[:1]], CONTEXT], title=None, return_sentence_metrics=True, threshold=0.0
    )

    with torch.inference_mode():
        keep, rank = reference(**tokenizer(QUESTION, CONTEXT, return_tensors="pt"))
    assert result["reranking_score"][1] == pytest.approx(torch.sigmoid(rank)[0].item(), abs=1e-5)
    context = keep[0, 5:-1]  # [CLS] how tall ? [SEP] ... [SEP]
    expected = [context[:5].mean().item(), context[5:].mean().item()]
    assert result["sentence_probabilities"][1] == pytest.approx(expected, abs=1e-5)


def test_what_a_checkpoint_says_of_itself_counts(tmp_path: Path) -> None:
    open_provence(tmp_path)
    tokenizer_in(tmp_path)
    pruner = ContextPruner.from_pretrained(tmp_path)
    assert (pruner.threshold, pruner.model.max_length) == (0.3, 48)


def test_open_provence_before_its_first_release(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    open_provence(tmp_path)
    tokenizer_in(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    save_file({n.removeprefix("ranking_model."): t for n, t in saved.items()}, tmp_path / "model.safetensors")
    assert ContextPruner.from_pretrained(tmp_path).process(QUESTION, CONTEXT)["pruned_context"] is not None


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("classifier.bias"), r"weights missing: classifier\.bias"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "weights unknown: extra"),
        (lambda tensors: tensors.update({"classifier.weight": torch.zeros(1, 5)}), r"is \(1, 5\), expected \(1, 32\)"),
        (lambda tensors: tensors.pop("token_classifier.weight"), "no known pruner"),
    ],
)
def test_missing_and_extra_keys_are_named(tmp_path: Path, change: Any, message: str) -> None:
    provence(tmp_path)
    tokenizer_in(tmp_path)
    changed(tmp_path, change)
    with pytest.raises(ModelError, match=message):
        ContextPruner.from_pretrained(tmp_path)


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a folder"):
        ContextPruner.from_pretrained("no such place")
    with pytest.raises(ModelError, match=r"usable config\.json"):
        ContextPruner.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no weights"):
        ContextPruner.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="cannot be read"):
        ContextPruner.from_pretrained(tmp_path)


def test_our_own_folder_with_a_wrong_recipe(tmp_path: Path) -> None:
    (tmp_path / "pruner.json").write_text('{"base": "minilm"}')
    with pytest.raises(ModelError, match=r"pruner\.json cannot be used"):
        ContextPruner.from_pretrained(tmp_path)
