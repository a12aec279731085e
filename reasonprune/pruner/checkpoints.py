"""Opens pruners: the one that ships with reasonprune, folders of ours, and checkpoints in three published formats.

A published checkpoint comes with Python code of its own. None of it is run: the format is told by the names of its
weights, and its network is put together from transformers' own classes.

| format | encoder | ranking | keep |
|---|---|---|---|
| naver Provence | `deberta.` | `pooler.dense.`, `classifier.` | `token_classifier.` |
| naver XProvence | `roberta.`, its pooler included | `classifier.` | `token_classifier.` |
| OpenProvence | `ranking_model.`, any sequence classifier | the classifier's logit | `pruning_head.classifier.` |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reasonprune.errors import ModelError
from reasonprune.models.reference import HUB_ID
from reasonprune.pruner import weights
from reasonprune.pruner.reading import CrossModel, LateModel, Model

DEFAULT = Path(__file__).parent / "default"
FILES = ["*.json", "*.safetensors", "pytorch_model*.bin", "*.model", "*.txt"]
NO_LIMIT = 100_000
"""Tokenizers without a limit of their own state a very large one."""


def embedded(device: str | None = None) -> tuple[Model, float]:
    """The pruner that ships with reasonprune, and its threshold; fetches its base encoder when it is not cached."""
    return _ours(DEFAULT, device)


def open_checkpoint(name: str | Path, device: str | None = None) -> tuple[Model, float | None]:
    """The pruner in a folder or of a hub id, and the threshold it was made for, if it says. Raises ModelError."""
    folder = _folder(str(name))
    if (folder / weights.CONFIG).is_file():
        return _ours(folder, device)
    config = _config(folder)
    tensors = _tensors(folder)
    try:
        network, base = _network(config, tensors)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise ModelError(f"The checkpoint in {folder} cannot be used: {error}") from None
    tokenizer = _tokenizer(folder, config, base)
    threshold = config.get("default_threadshold", config.get("default_threshold"))  # published with that spelling
    return CrossModel(tokenizer, network, _max_length(config, base, tokenizer), device), threshold


class HeadsNet(nn.Module):
    """naver's network: an encoder, a ranking head on its pooled first token, a keep head of two classes."""

    def __init__(self, encoder: nn.Module, pool: Callable[[Any], Tensor], classifier: nn.Linear, keep: nn.Linear):
        super().__init__()
        self.encoder, self.pool, self.classifier, self.keep = encoder, pool, classifier, keep

    def forward(self, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        output = self.encoder(**inputs)
        return _log_odds(self.keep(output.last_hidden_state)), self.classifier(self.pool(output))[:, 0]


class ClassifierNet(nn.Module):
    """OpenProvence's network: a sequence classifier for the ranking, a keep head of two classes on its last states."""

    def __init__(self, ranking: nn.Module, keep: nn.Linear) -> None:
        super().__init__()
        self.ranking, self.keep = ranking, keep

    def forward(self, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        output = self.ranking(**inputs, output_hidden_states=True)
        states = output.hidden_states[-1].to(self.keep.weight.dtype)
        return _log_odds(self.keep(states)), output.logits[:, 0]


def _log_odds(logits: Tensor) -> Tensor:
    """Of the class "keep", the second of two (a sigmoid of it is their softmax), or of the only one."""
    return logits[..., 1] - logits[..., 0] if logits.shape[-1] == 2 else logits[..., 0]


def _ours(folder: Path, device: str | None) -> tuple[Model, float]:
    tokenizer, network, recipe = weights.load(folder)
    model = LateModel(tokenizer, network, recipe.max_length, device, recipe.calibration, recipe.ranking)
    return model, recipe.threshold


def _folder(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if not HUB_ID.fullmatch(name):
        raise ModelError(
            f"{name!r} is no pruner: neither a folder that exists, nor a Hugging Face id of the form org/name."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(f"{name} cannot be fetched from the model hub: {error}") from None


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds neither {weights.CONFIG} nor a usable config.json: {error}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{folder / 'config.json'} is not an object.")
    return config


def _tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found: dict[str, Tensor] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            found |= load_file(path)
        if not found:
            for path in sorted(folder.glob("pytorch_model*.bin")):
                found |= torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"The weights in {folder} cannot be read: {error}") from None
    if not found:
        raise ModelError(f"{folder} holds no weights (*.safetensors or pytorch_model*.bin).")
    return found


def _network(config: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[nn.Module, Any]:
    """The network with all weights set, and the configuration of its encoder."""
    if any(name.startswith("pruning_head.") for name in tensors):
        return _open_provence(config, tensors)
    for prefix, model_type in (("deberta.", "deberta-v2"), ("roberta.", "xlm-roberta")):
        if "token_classifier.weight" in tensors and any(name.startswith(prefix) for name in tensors):
            return _naver(config, tensors, prefix, model_type)
    raise ValueError(
        "its weights are those of no known pruner: expected token_classifier.* beside deberta.* or roberta.* (Provence,"
        " XProvence), or pruning_head.* (OpenProvence)"
    )


def _naver(config: dict[str, Any], tensors: dict[str, Tensor], prefix: str, kind: str) -> tuple[nn.Module, Any]:
    from transformers import AutoConfig, AutoModel

    base = AutoConfig.for_model(kind, **_without_code(config))
    encoder = AutoModel.from_config(base)
    pooled = prefix == "deberta."
    if pooled:
        from transformers.models.deberta_v2.modeling_deberta_v2 import ContextPooler

        pooler = ContextPooler(base)
    hidden = int(base.hidden_size)
    rank, keep = nn.Linear(hidden, tensors["classifier.weight"].shape[0]), nn.Linear(hidden, 2)
    parts = {prefix: encoder, "classifier.": rank, "token_classifier.": keep} | ({"pooler.": pooler} if pooled else {})
    _fill(parts, tensors)
    if not pooled:
        return HeadsNet(encoder, lambda output: output.pooler_output, rank, keep), base
    network = HeadsNet(encoder, lambda output: pooler(output.last_hidden_state), rank, keep)
    network.add_module("pooler", pooler)
    return network, base


def _open_provence(config: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[nn.Module, Any]:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    own = config.get("base_model_config")
    if not isinstance(own, dict) or "model_type" not in own:
        raise ValueError("its config.json has no base_model_config with a model_type")
    fields = _without_code(own)
    base = AutoConfig.for_model(own["model_type"], **fields)
    base.num_labels = int(config.get("num_labels") or 1)
    ranking = AutoModelForSequenceClassification.from_config(base)
    if not any(name.startswith("ranking_model.") for name in tensors):  # as it was saved before version 1
        tensors = {n if n.startswith("pruning_head.") else f"ranking_model.{n}": t for n, t in tensors.items()}
    head = tensors["pruning_head.classifier.weight"]
    keep = nn.Linear(head.shape[1], head.shape[0])
    _fill({"ranking_model.": ranking, "pruning_head.classifier.": keep}, tensors)
    return ClassifierNet(ranking, keep), base


def _without_code(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("model_type", "auto_map", "architectures")}


def _fill(parts: dict[str, nn.Module], tensors: dict[str, Tensor]) -> None:
    """Sets the weights of all parts. Raises ValueError naming what is missing, left over, or of another shape."""
    left = {name for name in tensors if not name.endswith("position_ids")}
    for prefix, part in parts.items():
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        own = {name: tensor for name, tensor in own.items() if not name.endswith("position_ids")}
        left -= {prefix + name for name in own}
        wanted = {name: tuple(tensor.shape) for name, tensor in part.state_dict().items() if "position_ids" not in name}
        missing = sorted(prefix + name for name in wanted.keys() - own.keys())
        extra = sorted(prefix + name for name in own.keys() - wanted.keys())
        if missing or extra:
            raise ValueError(_misfit(missing, extra))
        for name, tensor in own.items():
            if wanted[name] != tuple(tensor.shape):
                raise ValueError(f"{prefix}{name} is {tuple(tensor.shape)}, expected {wanted[name]}")
        part.load_state_dict({name: tensor.float() for name, tensor in own.items()}, strict=False)
    if left:
        raise ValueError(_misfit([], sorted(left)))


def _misfit(missing: list[str], extra: list[str]) -> str:
    parts = [f"{what}: {', '.join(names[:5])}" for what, names in (("missing", missing), ("unknown", extra)) if names]
    return "weights " + "; weights ".join(parts)


def _tokenizer(folder: Path, config: dict[str, Any], base: Any) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, config=base)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(f"The tokenizer in {folder} cannot be read: {error}") from None
    if not tokenizer.is_fast:
        raise ModelError(
            f"The tokenizer in {folder} does not tell which characters its tokens are (no tokenizer.json)."
        )
    return tokenizer


def _max_length(config: dict[str, Any], base: Any, tokenizer: Any) -> int:
    """Tokens the checkpoint reads at once: what it says itself, within what its encoder and tokenizer can."""
    limits = [int(config.get("max_length") or 512), int(tokenizer.model_max_length)]
    if positions := getattr(base, "max_position_embeddings", None):
        padding = int(base.pad_token_id or 0) + 1 if base.model_type in ("roberta", "xlm-roberta") else 0
        limits.append(int(positions) - padding)
    return min(limit for limit in limits if 0 < limit < NO_LIMIT)
