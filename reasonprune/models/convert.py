"""The conversion of a GGUF file to a Hugging Face folder in bf16; run as `python -m reasonprune.models.convert`.

It runs in a process of its own, so that torch's memory is returned when it ends. Progress goes to standard output,
one line `step K/N: TEXT` at the start of each step.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

END_OF_DOCUMENT = "<|endoftext|>"
SAME_MATRIX = 0.98
"""Cosine above which two matrices are one and the same, quantised twice; those of different layers are near 0."""

METADATA_BYTES = 1 << 24
"""The head of a GGUF file, more than its metadata takes for a vocabulary of 150,000 tokens."""

SMOLLM_RULE = b"tokenizer.ggml.pre" + struct.pack("<IQ", 8, 6) + b"smollm"
"""The metadata entry as GGUF writes it: key, type (8: string), length, value."""

STEPS = ("reading the tokenizer", "unpacking the weights", "writing the folder")


def convert(source: Path, target: Path) -> None:
    """Write the model in the GGUF file `source` to the folder `target`: tokenizer with chat template, bf16 weights.

    Raises what transformers raises for a file that it cannot read, and ValueError for one without a chat template.
    """
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _announce(0)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    if not tokenizer.chat_template:
        raise ValueError(f"{source.name} holds no chat template")
    _restore_digit_split(tokenizer, source)

    _announce(1)
    # Releases with a GgufConfig may keep the weights packed unless told not to; those before it always unpack them.
    packing = getattr(transformers, "GgufConfig", None)
    options = {"quantization_config": packing(dequantize=True)} if packing else {}
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.bfloat16, **options
    ).to(torch.bfloat16)
    _tie_embeddings(model)
    _forget_origin(model)
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.generation_config.eos_token_id = end_tokens(tokenizer)

    _announce(2)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def end_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that end an answer: the end of the chat turn first, then the end of a document where there is one."""
    ids = [tokenizer.eos_token_id]
    end_of_document = tokenizer.get_vocab().get(END_OF_DOCUMENT)
    return ids if end_of_document in (None, *ids) else [*ids, end_of_document]


def _restore_digit_split(tokenizer: PreTrainedTokenizerBase, source: Path) -> None:
    """Split numbers into digits first, as SmolLM's own tokenizer does.

    GGUF only names this rule (`smollm`), and transformers does not apply it. Without it, blanks before a number are
    cut into other tokens than those that the model was trained on.
    """
    from tokenizers import pre_tokenizers

    with source.open("rb") as file:
        metadata = file.read(METADATA_BYTES)
    if SMOLLM_RULE in metadata:
        backend: Any = tokenizer.backend_tokenizer
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])


def _tie_embeddings(model: PreTrainedModel) -> None:
    """Make the input and output embeddings one matrix again, where the file stores that one matrix twice.

    The output's copy is the more finely quantised of the two, so that is the one kept.
    """
    inputs: torch.Tensor = model.get_input_embeddings().weight
    outputs: torch.Tensor = model.get_output_embeddings().weight
    if inputs is outputs or inputs.shape != outputs.shape or _cosine(inputs, outputs) < SAME_MATRIX:
        return
    model.get_input_embeddings().weight = outputs
    model.config.tie_word_embeddings = True
    model.tie_weights()


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Cosine of the angle between two matrices, from a sample of their rows."""
    import torch

    step = max(1, len(a) // 4096)
    x, y = (matrix[::step].detach().float().flatten() for matrix in (a, b))
    return float(torch.nn.functional.cosine_similarity(x, y, dim=0))


def _forget_origin(model: PreTrainedModel) -> None:
    """Drop what marks the model as quantised, which is no longer true and would keep it from being saved."""
    model.hf_quantizer = None
    for name in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        if name in model.config.__dict__:
            delattr(model.config, name)


def _announce(step: int) -> None:
    print(f"step {step + 1}/{len(STEPS)}: {STEPS[step]}", flush=True)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
