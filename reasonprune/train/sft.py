"""Supervised fine-tuning of a causal language model on chats: the loss is on what the assistant wrote."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from reasonprune.engine.chat import prompt_ids
from reasonprune.errors import PoolError

IGNORED = -100


@dataclass(frozen=True)
class Example:
    """A conversation, and the assistant's next turn."""

    messages: Sequence[Mapping[str, Any]]
    reply: str


@dataclass(frozen=True)
class SftConfig:
    """`batch_tokens`: padded tokens of one optimiser step. `max_tokens`: longer examples are left out."""

    steps: int
    learning_rate: float
    batch_tokens: int = 4096
    seed: int = 0
    max_tokens: int = 4096
    warmup_share: float = 0.05


Row = tuple[list[int], list[int]]


def rows_of(tokenizer: Any, examples: Sequence[Example], max_tokens: int) -> list[Row]:
    """Prompt and reply as token ids. Raises PoolError where no example is short enough."""
    rows = []
    for example in examples:
        prompt = prompt_ids(tokenizer, example.messages)
        reply = [*tokenizer.encode(example.reply, add_special_tokens=False), tokenizer.eos_token_id]
        if len(prompt) + len(reply) <= max_tokens:
            rows.append((prompt, reply))
    if not rows:
        raise PoolError(f"None of {len(examples)} examples has at most {max_tokens} tokens; raise --max-tokens.")
    return rows


def batches(rows: Sequence[Row], batch_tokens: int, seed: int) -> Iterator[list[Row]]:
    """For ever: rows of like length together, in random order, so that little of a batch is padding."""
    rng = random.Random(seed)
    ordered = sorted(rows, key=lambda row: len(row[0]) + len(row[1]))
    groups: list[list[Row]] = [[]]
    for row in ordered:
        if groups[-1] and (len(groups[-1]) + 1) * (len(row[0]) + len(row[1])) > batch_tokens:
            groups.append([])
        groups[-1].append(row)
    while True:
        rng.shuffle(groups)
        yield from groups


def fine_tune(
    model: Any, tokenizer: Any, examples: Sequence[Example], config: SftConfig, name: str
) -> dict[str, float | int]:
    """Trains the parameters of `model` that require gradients, in place; cosine schedule down to a tenth.

    Returns the number of examples, steps, tokens with a loss, the smoothed loss at the end, and seconds.
    """
    torch.manual_seed(config.seed)
    rows = rows_of(tokenizer, examples, config.max_tokens)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    warmup = max(1, round(config.steps * config.warmup_share))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    began, trained, smooth = time.monotonic(), 0, math.nan
    model.train()
    groups = itertools.islice(batches(rows, config.batch_tokens, config.seed), config.steps)
    for step, group in enumerate(tqdm(groups, desc=name, total=config.steps, mininterval=5)):
        ids, mask, labels = padded(group, pad)
        for settings in optimizer.param_groups:
            settings["lr"] = config.learning_rate * schedule(step, warmup, config.steps)
        device = parameters[0].device
        loss = model(input_ids=ids.to(device), attention_mask=mask.to(device), labels=labels.to(device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        trained += int((labels != IGNORED).sum())
        smooth = loss.item() if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss.item()
    model.eval()
    return {
        "examples": len(rows),
        "steps": config.steps,
        "trained_tokens": trained,
        "final_loss": round(smooth, 4),
        "seconds": round(time.monotonic() - began),
    }


def schedule(step: int, warmup: int, steps: int) -> float:
    """Share of the learning rate: linear warm-up, then cosine down to a tenth."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2


def padded(group: Sequence[Row], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, attention mask and labels, each (rows, longest)."""
    width = max(len(prompt) + len(reply) for prompt, reply in group)
    ids = torch.full((len(group), width), pad)
    mask = torch.zeros((len(group), width), dtype=torch.long)
    labels = torch.full((len(group), width), IGNORED)
    for i, (prompt, reply) in enumerate(group):
        row = torch.tensor(prompt + reply)
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
        labels[i, len(prompt) : len(row)] = row[len(prompt) :]
    return ids, mask, labels
