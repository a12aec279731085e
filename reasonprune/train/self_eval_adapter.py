"""Training the adapter: a LoRA with which the model's reply to the evaluation turn is the probability of a win or tie.

As in the paper (arXiv 2410.02725) on-policy, on whole and truncated answers, with the loss on the predefined token
alone. There the labels come from pairs of samples and a reward model; with n samples of a question whose answer is
known the share of the others that do no better is the same target, without the noise of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reasonprune.selfeval.turn import EvaluationTurn
from reasonprune.train.samples import Sample, SampledQuestion
from reasonprune.train.self_eval_states import last_states


@dataclass(frozen=True)
class AdapterConfig:
    """How a LoRA is trained; half of its examples are whole traces, the others cut at random."""

    rank: int = 16
    alpha: int = 32
    steps: int = 400
    batch: int = 16
    at_once: int = 4  # of a batch; what they need in memory is most of what training needs
    learning_rate: float = 5e-4
    warmup: int = 20  # steps
    whole: float = 0.5
    seed: int = 0


def train_adapter(
    model: Any,
    tokenizer: Any,
    questions: Sequence[SampledQuestion],
    config: AdapterConfig,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Any, dict[str, Any]]:
    """The model (of transformers) with its trained LoRA, and how it came about.

    Raises:
        ModelError: the tokenizer lacks the predefined tokens.
    """
    from peft import LoraConfig, get_peft_model

    turn = EvaluationTurn.of(tokenizer)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    lora = LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, lora)
    wrapped.train()
    parameters = [parameter for parameter in wrapped.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / config.warmup, 1 - step / (config.steps + 1))
    )
    examples = [(question, sample) for question in questions for sample in question.samples]
    losses = []
    for step in range(config.steps):
        chosen = [examples[i] for i in rng.integers(len(examples), size=config.batch)]
        cuts = [
            sample.cut(1.0) if rng.random() < config.whole else int(rng.integers(1, len(sample.token_ids)))
            for _, sample in chosen
        ]
        prompts = [ask(turn, tokenizer, q, s, cut) for (q, s), cut in zip(chosen, cuts, strict=True)]
        target = torch.tensor([question.unbeaten(sample) for question, sample in chosen], dtype=torch.float32)
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in torch.arange(len(prompts)).split(config.at_once):
            # Of the two replies alone, as they are read; else all that is learned is to reply with either of them.
            logs = replies(model, [prompts[int(i)] for i in part], turn).log_softmax(1)
            loss = -(target[part] * logs[:, 1] + (1 - target[part]) * logs[:, 0]).sum() / len(prompts)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(total)
        progress((step + 1) / config.steps)
    wrapped.eval()
    return wrapped, {"final_loss": round(float(np.mean(losses[-20:])), 4)}


def ask(turn: EvaluationTurn, tokenizer: Any, question: SampledQuestion, sample: Sample, cut: int) -> list[int]:
    """The evaluation turn after the first `cut` tokens of a trace; what the engine asks of a running one."""
    ids = sample.token_ids[:cut]
    return turn.prompt(question.prompt_ids, ids, tokenizer.decode(ids))


def replies(model: Any, prompts: Sequence[Sequence[int]], turn: EvaluationTurn) -> torch.Tensor:
    """Log-probabilities [n, 2] of the replies "restart" and "go on" as the next token of each prompt."""
    states = last_states(model, prompts)
    last = states[torch.arange(len(prompts)), torch.tensor([len(prompt) - 1 for prompt in prompts])]
    logits = model.get_output_embeddings()(last).float()
    return logits.log_softmax(1)[:, [turn.restart, turn.go_on]]


def contents(
    model: Any, tokenizer: Any, questions: Sequence[SampledQuestion], share: float, batch: int = 32
) -> list[float]:
    """p(No) / (p(No) + p(Yes)) of all traces at a share of their length, question by question."""
    turn = EvaluationTurn.of(tokenizer)
    prompts = [ask(turn, tokenizer, q, sample, sample.cut(share)) for q in questions for sample in q.samples]
    found: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(prompts), batch):
            found += replies(model, prompts[start : start + batch], turn).softmax(1)[:, 1].tolist()
    return found
