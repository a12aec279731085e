"""Training the value head: hidden states of recorded traces, which the engine would see at the same places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reasonprune.bench.judging import auroc_within
from reasonprune.selfeval.head import BINS, RIGHT, UNBEATEN, HeadSpec, ValueHead, bin_of, trail
from reasonprune.train.samples import SHARES, Sample, SampledQuestion

BATCH_TOKENS = 16_384
LENGTH_WEIGHT = 0.3  # of the remaining length in the loss; a value is what most decisions go by


@dataclass(frozen=True)
class HeadConfig:
    """How a head is trained; `places` hidden states are drawn of each trace, its end always among them."""

    hidden: int = 64
    places: int = 12
    epochs: int = 60
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    patience: int = 8  # epochs without a smaller loss on validation questions
    seed: int = 0


@dataclass
class States:
    """Hidden states with their trails [n, width], and what became of their traces, row by row.

    `share` is the one of SHARES at which the state was taken, 0 where it was drawn at random.
    """

    states: torch.Tensor
    right: torch.Tensor
    unbeaten: torch.Tensor
    remaining: torch.Tensor
    question: NDArray[np.int64]
    share: NDArray[np.float64]

    def rows(self, share: float) -> NDArray[np.int64]:
        return np.nonzero(self.share == share)[0]


def hidden_states(
    model: Any,
    questions: Sequence[SampledQuestion],
    random_places: int,
    seed: int,
    progress: Callable[[float], None] = lambda share: None,
) -> States:
    """The last layer's states (after its norm) from which the token after each place would be sampled.

    `model`: of transformers. Traces are run in batches of like length.
    """
    rng = np.random.default_rng(seed)
    jobs = []
    for number, question in enumerate(questions):
        for sample in question.samples:
            places = [(sample.cut(share), share) for share in SHARES]
            drawn = rng.integers(1, len(sample.token_ids), size=random_places)
            jobs.append((number, question, sample, places + [(int(at), 0.0) for at in drawn]))
    jobs.sort(key=lambda job: len(job[1].prompt_ids) + len(job[2].token_ids))
    found: list[torch.Tensor] = []
    facts: list[tuple[float, float, float, int, float]] = []
    start = 0
    while start < len(jobs):
        end = start + 1
        while end < len(jobs) and (end - start + 1) * _length(jobs[end]) <= BATCH_TOKENS:
            end += 1
        batch = jobs[start:end]
        for job, states in zip(batch, _run(model, batch), strict=True):
            number, question, sample, places = job
            positions = [len(question.prompt_ids) + at - 1 for at, _ in places]
            trails = torch.tensor([trail_at(sample, at) for at, _ in places])
            found.append(torch.cat([states[positions].float(), trails], dim=1))
            unbeaten = question.unbeaten(sample)
            facts += [(sample.right, unbeaten, len(sample.token_ids) - at, number, share) for at, share in places]
        start = end
        progress(start / len(jobs))
    right, unbeaten_, remaining, number_, share_ = (list(column) for column in zip(*facts, strict=True))
    return States(
        torch.cat(found),
        torch.tensor(right, dtype=torch.float32),
        torch.tensor(unbeaten_, dtype=torch.float32),
        torch.tensor(remaining, dtype=torch.float32),
        np.asarray(number_, dtype=np.int64),
        np.asarray(share_, dtype=np.float64),
    )


def trail_at(sample: Sample, tokens: int) -> list[float]:
    """The trail of a trace's first tokens, as the worker keeps it."""
    logprobs = sample.logprobs[:tokens]
    return trail(min(0.0, *logprobs), sum(logprobs), tokens)


def _length(job: Any) -> int:
    return len(job[1].prompt_ids) + len(job[2].token_ids)


def _run(model: Any, batch: Sequence[Any]) -> list[torch.Tensor]:
    """Hidden states [length, width] of each prompt and trace; padding comes last, where nothing before it looks."""
    rows = [[*question.prompt_ids, *sample.token_ids] for _, question, sample, _ in batch]
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    with torch.inference_mode():
        states = model.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    # Out of inference mode, since training goes on from these.
    return [states[i, : len(row)].clone() for i, row in enumerate(rows)]


def train_head(
    train: States, validation: States, config: HeadConfig, progress: Callable[[float], None] = lambda share: None
) -> tuple[ValueHead, dict[str, Any]]:
    """The head of the epoch with the smallest validation loss, calibrated there; and how it came about.

    Not by AUROC within questions, which a few validation questions tell too poorly to stop by.
    """
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    head = ValueHead(HeadSpec(train.states.shape[1], config.hidden))
    head.fit_scaling(train.states)
    head.fit_lengths(train.remaining)
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    best, best_epoch = float("inf"), 0
    everything = np.arange(len(validation.states))
    best_state = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    for epoch in range(1, config.epochs + 1):
        head.train()
        for rows in np.array_split(rng.permutation(len(train.states)), max(1, len(train.states) // config.batch)):
            loss = _loss(head(train.states[rows]), train, rows)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        head.eval()
        with torch.inference_mode():
            loss = _loss(head(validation.states), validation, everything).item()
        if loss < best:
            best, best_epoch = loss, epoch
            best_state = {name: tensor.clone() for name, tensor in head.state_dict().items()}
        progress(epoch / config.epochs)
        if epoch - best_epoch >= config.patience:
            break
    progress(1.0)
    head.load_state_dict(best_state)
    _calibrate(head, validation)
    within = _within(head, validation)
    return head, {
        "epoch": best_epoch,
        "validation_loss": round(best, 4),
        "validation_auroc_within": round(within, 4),
    }


def _loss(outputs: torch.Tensor, data: States, rows: NDArray[np.int64]) -> torch.Tensor:
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    value = entropy(outputs[:, RIGHT], data.right[rows]) + entropy(outputs[:, UNBEATEN], data.unbeaten[rows])
    length = torch.nn.functional.cross_entropy(outputs[:, BINS:], bin_of(data.remaining[rows]))
    return value + LENGTH_WEIGHT * length


def _within(head: ValueHead, data: States) -> float:
    """Mean AUROC within questions over the shares; 0.5 where no question has right and wrong traces."""
    found = []
    for share in SHARES:
        rows = data.rows(share)
        scores = head.values(data.states[rows])[:, RIGHT].tolist()
        value, _ = auroc_within(scores, [bool(r) for r in data.right[rows]], data.question[rows].tolist())
        found.append(0.5 if value is None else value)
    return sum(found) / len(found)


def _calibrate(head: ValueHead, data: States) -> None:
    """Slope and shift of both logits by maximum likelihood (Platt scaling), on all of the validation states."""
    with torch.inference_mode():
        logits = head(data.states)[:, :BINS].clone()
    for column, target in ((RIGHT, data.right), (UNBEATEN, data.unbeaten)):
        parameters = torch.tensor([1.0, 0.0], requires_grad=True)
        optimizer = torch.optim.LBFGS([parameters], max_iter=50)
        values = torch.tensor(logits[:, column].tolist())

        def closure(
            values: torch.Tensor = values,
            target: torch.Tensor = target,
            parameters: torch.Tensor = parameters,
            optimizer: torch.optim.Optimizer = optimizer,
        ) -> torch.Tensor:
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(parameters[0] * values + parameters[1], target)
            loss.backward()
            return loss

        optimizer.step(closure)
        slope, shift = parameters.detach().tolist()
        if slope > 0 and np.isfinite(slope) and np.isfinite(shift):  # else its order must not be turned round
            head.calibration[column] = torch.tensor([slope, shift])
