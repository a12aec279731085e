"""Training the value head: both of its maps are convex fits with weight decay, so nothing depends on when to stop.

The value is fitted to whether a trace is right, and to rank right traces above wrong ones of the same question: most of
what makes a trace right is its question, which says nothing of which trace to keep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, softplus

from reasonprune.errors import PoolError
from reasonprune.selfeval.head import BINS, OUTPUTS, RIGHT, UNBEATEN, HeadSpec, ValueHead, bin_of
from reasonprune.selfeval.trail import TRAIL
from reasonprune.train.self_eval_states import States

LENGTH_WEIGHT = 0.3  # of the remaining length in the loss; a value is what most decisions go by
LIKE = 0.13  # states of traces that are this much apart in progress, at most, are ranked
MOST_STEPS = 60  # of L-BFGS
FOLDS = 5


@dataclass(frozen=True)
class HeadConfig:
    """How a head is trained.

    `places`: hidden states of each trace; those at SHARES are always among them. `ranking`: weight of ranking within
    questions beside the loss of each state. `decays`: of the weights of the scaled state; the one is taken with the
    smallest loss in cross-validation by question. `trail_decay`: of the few weights of the trail.
    """

    places: int = 12
    ranking: float = 1.0
    decays: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    trail_decay: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class _Fitting:
    """One kind of states, running or ended, as a fit reads them: scaled inputs, targets, and pairs to be ranked."""

    inputs: torch.Tensor
    data: States
    better: torch.Tensor
    worse: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def of(cls, head: ValueHead, data: States) -> _Fitting:
        return cls(head.scaled(data.states), data, *_pairs(data))

    def value_loss(self, outputs: torch.Tensor, ranking: float) -> torch.Tensor:
        right, data = outputs[:, RIGHT], self.data
        loss = binary_cross_entropy_with_logits(right, data.right)
        loss = loss + binary_cross_entropy_with_logits(outputs[:, UNBEATEN], data.unbeaten)
        return loss + ranking * (softplus(right[self.worse] - right[self.better]) * self.weight).sum()

    def loss(self, outputs: torch.Tensor, ranking: float) -> torch.Tensor:
        length = cross_entropy(outputs[:, BINS:], bin_of(self.data.remaining))
        return self.value_loss(outputs, ranking) + LENGTH_WEIGHT * length


def train_head(
    train: States, config: HeadConfig, progress: Callable[[float], None] = lambda share: None
) -> tuple[ValueHead, dict[str, Any]]:
    """The head, and how it came about: decay and calibration are those of questions that a fit did not see.

    Raises:
        PoolError: fewer than two questions have traces that ended by themselves.
    """
    head = ValueHead(HeadSpec(train.states.shape[1]))
    head.fit_scaling(train.states)
    head.fit_lengths(train.remaining)
    how: dict[str, Any] = {}
    for number, (kind, linear) in enumerate((("running", head.running), ("ended", head.ended))):
        data = train.at((train.ended == bool(number)).numpy())
        losses, outputs = _cross_validated(head, linear, data, config, partial(_half, progress, number))
        best = min(range(len(losses)), key=losses.__getitem__)
        whole = _Fitting.of(head, data)
        _zero(linear)
        _fit(linear, whole.inputs, config.decays[best], config, partial(whole.loss, ranking=config.ranking))
        _calibrate(linear, outputs[best], data)
        how[kind] = {"decay": config.decays[best], "loss_of_decays": [round(loss, 4) for loss in losses]}
    return head, how


def _cross_validated(
    head: ValueHead, linear: Any, data: States, config: HeadConfig, progress: Callable[[float], None]
) -> tuple[list[float], list[torch.Tensor]]:
    """By decay: mean loss of values on questions that the fit did not see, and outputs [n, OUTPUTS] for them."""
    questions = np.random.default_rng(config.seed).permutation(np.unique(data.question))
    if len(questions) < 2:
        raise PoolError(
            "Fewer than two questions of the pool that are for training have traces that ended by themselves; record"
            " more of them, with a larger --max-tokens where traces are cut off."
        )
    folds = [np.isin(data.question, part) for part in np.array_split(questions, min(FOLDS, len(questions)))]
    losses = [0.0] * len(config.decays)
    outputs = [torch.zeros(len(data.right), OUTPUTS) for _ in config.decays]
    for done, unseen in enumerate(folds):
        fitted, held = _Fitting.of(head, data.at(~unseen)), _Fitting.of(head, data.at(unseen))
        _zero(linear)
        # From the strongest decay on, each fit goes on from the one before.
        for at in sorted(range(len(config.decays)), key=lambda at: -config.decays[at]):
            _fit(linear, fitted.inputs, config.decays[at], config, partial(fitted.loss, ranking=config.ranking))
            with torch.inference_mode():
                found = linear(held.inputs)
                losses[at] += held.value_loss(found, config.ranking).item() / len(folds)
            outputs[at][torch.from_numpy(unseen)] = found.clone()
        progress((done + 1) / len(folds))
    return losses, outputs


def _half(progress: Callable[[float], None], number: int, share: float) -> None:
    """Progress within the first or the second of two halves."""
    progress((number + share) / 2)


def _zero(linear: Any) -> None:
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()


def _pairs(data: States) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows of a right and of a wrong trace of one question at like progress; every question weighs the same."""
    better, worse, weight = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    right = data.right.numpy() > 0.5
    for question in np.unique(data.question):
        rows = np.nonzero(data.question == question)[0]
        good, bad = np.meshgrid(rows[right[rows]], rows[~right[rows]], indexing="ij")
        like = np.abs(data.progress[good] - data.progress[bad]) <= LIKE
        if like.any():
            better.append(good[like])
            worse.append(bad[like])
            weight.append(np.full(like.sum(), 1 / like.sum()))
    weights = np.concatenate(weight) / max(1, len(weight) - 1)
    return (
        torch.from_numpy(np.concatenate(better)),
        torch.from_numpy(np.concatenate(worse)),
        torch.from_numpy(weights).float(),
    )


def _fit(
    linear: Any,
    inputs: torch.Tensor,
    decay: float,
    config: HeadConfig,
    loss_of: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """The weights with the least loss and decay, by L-BFGS from those that are there. The bias is not decayed."""
    decays = torch.full((inputs.shape[1],), decay)
    decays[-TRAIL:] = min(decay, config.trail_decay)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=MOST_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(linear(inputs)) + 0.5 * (decays * linear.weight**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)


def _calibrate(linear: Any, logits: torch.Tensor, data: States) -> None:
    """Both logits times a slope, plus a shift, by maximum likelihood (Platt scaling); made part of the weights.

    `logits`: of `data`, from fits that did not see its questions.
    """
    for column, target in ((RIGHT, data.right), (UNBEATEN, data.unbeaten)):
        if not 0 < float(target.mean()) < 1:
            continue  # nothing to learn a slope from
        parameters = torch.tensor([1.0, 0.0], requires_grad=True)
        optimizer = torch.optim.LBFGS([parameters], max_iter=50, line_search_fn="strong_wolfe")
        values = logits[:, column]

        def closure(
            values: torch.Tensor = values,
            target: torch.Tensor = target,
            parameters: torch.Tensor = parameters,
            optimizer: torch.optim.Optimizer = optimizer,
        ) -> torch.Tensor:
            optimizer.zero_grad()
            loss = binary_cross_entropy_with_logits(parameters[0] * values + parameters[1], target)
            loss.backward()
            return loss

        optimizer.step(closure)
        slope, shift = parameters.detach().tolist()
        if slope > 0 and np.isfinite(slope) and np.isfinite(shift):  # else its order must not be turned round
            with torch.no_grad():
                linear.weight[column] *= slope
                linear.bias[column] = linear.bias[column] * slope + shift
