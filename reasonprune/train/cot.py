"""`reasonprune train cot`: a LoRA adapter trained on compressed chains of thought, so that a model writes short ones.

The last stage of ASAP (arXiv 2508.05988), with LoRA in place of full fine-tuning: vLLM serves the adapter beside the
model it was made from.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reasonprune.answers import equivalent, extract_answer
from reasonprune.cot.chats import chains_in
from reasonprune.cot.files import REPORT
from reasonprune.errors import ModelError, PoolError
from reasonprune.models import resolve
from reasonprune.train.sft import Example, SftConfig, fine_tune

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class CotTrainConfig:
    """`rank`: of the adapter; its scale (alpha) is twice the rank."""

    model: str
    rank: int = 16
    steps: int = 300
    learning_rate: float = 1e-3
    batch_tokens: int = 4096
    max_tokens: int = 4096
    seed: int = 0


def examples_in(data: Path) -> tuple[list[Example], dict[str, int]]:
    """What to train on, and how many chains were left out and why.

    A chain whose row has a gold answer that it does not reach is left out, and one that compression left whole because
    the model then answered otherwise.
    """
    examples, dropped = list[Example](), Counter[str]()
    try:
        lines = [line for line in data.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise PoolError(f"{data} cannot be read: {error.strerror}.") from None
    for number, line in enumerate(lines, 1):
        try:
            row: Any = json.loads(line)
        except ValueError as error:
            raise PoolError(f"{data}, line {number}: not JSON ({error}).") from None
        reports = (row.get(REPORT) or {}).get("chains") if isinstance(row, dict) else None
        if not reports:
            raise PoolError(f"{data}, line {number}: not a row of `reasonprune compress`; compress the data first.")
        gold = row.get("gold")
        for found, report in zip(chains_in(row), reports, strict=False):
            if any(skipped["technique"] == "compression" for skipped in report.get("not_applied", ())):
                dropped["answer changed"] += 1
            elif gold is not None and not _reaches(found.text, str(gold)):
                dropped["wrong answer"] += 1
            else:
                reply = found.text if found.key not in ("reasoning", "reasoning_content") else _with_tags(found)
                examples.append(Example(found.messages, reply))
    if not examples:
        raise PoolError(f"{data} holds no chain to train on ({dict(dropped)}).")
    return examples, dict(dropped)


def _reaches(text: str, gold: str) -> bool:
    answer = extract_answer(text)
    return answer is not None and equivalent(answer, gold)


def _with_tags(found: Any) -> str:
    return f"<think>\n{found.text}\n</think>\n\n{found.chain.anchor}"


def train_cot(data: Path, out: Path, config: CotTrainConfig) -> dict[str, Any]:
    """Trains and saves the adapter in PEFT's format, `training.json` beside it; returns what is in the latter."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise ModelError("`train cot` needs peft: pip install 'reasonprune[train]'.") from None
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    examples, dropped = examples_in(data)
    path = resolve(config.model).path
    tokenizer = AutoTokenizer.from_pretrained(path)
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    lora = LoraConfig(r=config.rank, lora_alpha=2 * config.rank, target_modules=list(TARGETS), task_type="CAUSAL_LM")
    torch.manual_seed(config.seed)
    adapted = get_peft_model(model, lora)
    sft = SftConfig(config.steps, config.learning_rate, config.batch_tokens, config.seed, config.max_tokens)
    report = fine_tune(adapted, tokenizer, examples, sft, "short chains")
    adapted.save_pretrained(out)
    saved = {"config": {**asdict(config), "model": resolve(config.model).name}, "left_out": dropped, **report}
    (out / "training.json").write_text(json.dumps(saved, indent=2) + "\n")
    return saved
