"""`reasonprune train router`: from a bank of layer programs and questions to a router that picks a program per prompt.

Every program of the bank answers every question once. A logistic model per program learns from the prompt whether the
program is right; the threshold below which full depth runs is set on questions that the models did not see.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.depth.bank import check_bank, read_bank
from reasonprune.depth.program import LayerProgram
from reasonprune.depth.router import FEATURES, Floats, Router, features
from reasonprune.depth.trial import open_bench, right_of, try_all

HELD_OUT = 0.3  # share of the training questions that set the threshold
STEPS, RATE, DECAY = 600, 0.05, 0.02
NEVER = 1.01  # a threshold that no probability reaches: full depth always


@dataclass(frozen=True)
class RouterConfig:
    """`allowed_loss`: most accuracy, as a share of the held-out questions, that routing may cost."""

    model: str
    bank: Path
    max_tokens: int = 512
    allowed_loss: float = 0.005
    seed: int = 0


@dataclass(frozen=True)
class Labels:
    """What every program answered: features (questions, FEATURES) and right (questions, programs), full depth last."""

    features: Floats
    right: NDArray[np.bool_]


def train_router(
    data: Path, test: Path | None, config: RouterConfig, limit: int | None, progress: Callable[[int, int], None]
) -> tuple[Router, dict[str, Any]]:
    """The router, and how it does on its held-out questions and on `test`, which it must not have seen.

    Raises:
        PoolError: a file of questions cannot be used.
        ModelError: the bank cannot be used, or is for another model.
    """
    bank = read_bank(config.bank)
    programs = sorted(set(bank.parsed.values()), key=lambda program: (program.cost, program.layers))
    train = read_dataset(data, limit)
    unseen = [q for q in read_dataset(test) if q.question not in {t.question for t in train}] if test else []

    async def label() -> tuple[Labels, Labels | None]:
        async with open_bench(config.model, config.max_tokens) as bench:
            check_bank(bank, config.bank, bench.support.layers, bench.support.slots)
            tried = [*programs, bench.full]

            async def of(questions: Sequence[Question], before: int) -> Labels:
                rows = [features(bench.ask(q).prompt["prompt_token_ids"]) for q in questions]
                total = (len(train) + len(unseen)) * len(tried)
                done_before = before * len(tried)
                right = await try_all(
                    bench, questions, tried, right_of, lambda done, _: progress(done_before + done, total)
                )
                return Labels(np.stack(rows), np.array(right, bool).T)

            return await of(train, 0), await of(unseen, len(train)) if unseen else None

    seen, tested = asyncio.run(label())
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart
    router, held_out = fit(seen, programs, bank.layers, config)
    result = {"programs": [str(program) for program in programs], "threshold": router.threshold, "held_out": held_out}
    if tested is not None:
        result["test"] = score(router, tested)
    return router, result


def fit(labels: Labels, programs: Sequence[LayerProgram], layers: int, config: RouterConfig) -> tuple[Router, Any]:
    """Models from one part of the questions, the threshold from the other; and the score on the latter."""
    order = np.random.default_rng(config.seed).permutation(len(labels.features))
    cut = max(1, int(len(order) * HELD_OUT))
    held, rest = order[:cut], order[cut:]
    weights = np.stack(
        [logistic(labels.features[rest], labels.right[rest, p]) for p in range(len(programs))]
        or [np.zeros(FEATURES, np.float32)]
    )[: len(programs)]
    kept = Labels(labels.features[held], labels.right[held])
    router = Router(layers, tuple(programs), weights, threshold=NEVER)
    for threshold in np.arange(0.98, 0.30, -0.02):
        candidate = Router(layers, tuple(programs), weights, float(round(threshold, 2)))
        found = score(candidate, kept)
        if found["accuracy"] < found["full_accuracy"] - config.allowed_loss:
            break
        router = candidate
    return router, score(router, kept)


def logistic(x: Floats, right: NDArray[np.bool_]) -> Floats:
    """Weights (FEATURES,) of a logistic regression with weight decay, by full-batch Adam."""
    y = right.astype(np.float64)
    weights = np.zeros(x.shape[1])
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, STEPS + 1):
        gradient = x.T @ (1 / (1 + np.exp(-(x @ weights))) - y) / len(y)
        gradient[:-1] += DECAY * weights[:-1]
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        weights -= RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return weights.astype(np.float32)


def score(router: Router, labels: Labels) -> dict[str, float]:
    """Accuracy and mean layers of routing, beside full depth and the program that is best for every question alone."""
    full = labels.right.shape[1] - 1
    costs = np.array([*(program.cost for program in router.programs), router.layers])
    likely = 1 / (1 + np.exp(-(labels.features @ router.weights.T)))
    accepted = np.concatenate([likely >= router.threshold, np.ones((len(likely), 1), bool)], axis=1)
    chosen = accepted.argmax(axis=1)
    rows = np.arange(len(chosen))
    cheapest = np.where(labels.right.any(axis=1), labels.right.argmax(axis=1), full)
    return {
        "questions": len(chosen),
        "accuracy": round(float(labels.right[rows, chosen].mean()), 4),
        "layers": round(float(costs[chosen].mean()), 3),
        "full_accuracy": round(float(labels.right[:, full].mean()), 4),
        "full_layers": router.layers,
        "routed_away_from_full": round(float((chosen != full).mean()), 4),
        "oracle_accuracy": round(float(labels.right[rows, cheapest].mean()), 4),
        "oracle_layers": round(float(costs[cheapest].mean()), 3),
    }
