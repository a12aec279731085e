"""`reasonprune train router`: from a bank of layer programs and questions to a router that picks a program per prompt.

Every program of the bank answers every question once, and so does full depth. A logistic model for each learns from the
prompt whether it is right; by how much a program may be less likely right than full depth is set by cross-validation.
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
from reasonprune.depth.router import Floats, Router, features
from reasonprune.depth.trial import open_bench, right_of, try_all

FOLDS = 5
DECAY = 0.02  # of weights, beside the mean loss of a question
MARGINS = tuple(round(0.01 * step, 2) for step in range(-20, 31))
NEVER = -1.01  # a margin that no probability keeps: full depth always


@dataclass(frozen=True)
class RouterConfig:
    """`allowed_loss`: most accuracy, as a share of the questions, that routing may cost in cross-validation."""

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
    """The router, how it does in cross-validation and on `test`, which it must not have seen.

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
    result = {"programs": [str(program) for program in programs], "margin": router.margin, "held_out": held_out}
    if tested is not None:
        result["test"] = score(router, tested)
        result["always"] = always(router, tested)
    return router, result


def fit(labels: Labels, programs: Sequence[LayerProgram], layers: int, config: RouterConfig) -> tuple[Router, Any]:
    """The router, and its score on questions that the models of their fold did not see.

    The margin is the one with the fewest layers among those that cost no more accuracy there than allowed.
    """
    likely = _out_of_fold(labels, config.seed)
    margin, found = NEVER, routed(likely, labels, programs, layers, NEVER)
    for candidate in MARGINS:
        tried = routed(likely, labels, programs, layers, candidate)
        if tried["accuracy"] >= tried["full_accuracy"] - config.allowed_loss and tried["layers"] < found["layers"]:
            margin, found = candidate, tried
    return Router(layers, tuple(programs), _weights(labels), margin), found


def _out_of_fold(labels: Labels, seed: int) -> Floats:
    """Probabilities (questions, programs and full depth) from models that did not see the question."""
    fold = np.random.default_rng(seed).permutation(len(labels.features)) % FOLDS
    likely = np.zeros(labels.right.shape, np.float32)
    for number in range(FOLDS):
        rest = fold != number
        likely[~rest] = _likely(_weights(Labels(labels.features[rest], labels.right[rest])), labels.features[~rest])
    return likely


def _weights(labels: Labels) -> Floats:
    return np.stack([logistic(labels.features, right) for right in labels.right.T])


def _likely(weights: Floats, x: Floats) -> Floats:
    return (1 / (1 + np.exp(-(x @ weights.T)))).astype(np.float32)


def logistic(x: Floats, right: NDArray[np.bool_]) -> Floats:
    """Weights (FEATURES,) of a logistic regression with weight decay; the last, of the constant, is not decayed."""
    from sklearn.linear_model import LogisticRegression

    weights = np.zeros(x.shape[1], np.float32)
    if (
        right.all() or not right.any()
    ):  # one answer to all: its frequency, as if one more question had gone the other way
        weights[-1] = np.log(len(right) + 1) * (1 if right.any() else -1)
        return weights
    model = LogisticRegression(C=1 / (DECAY * len(right)), max_iter=1000).fit(x[:, :-1], right)
    weights[:-1], weights[-1] = model.coef_[0], model.intercept_[0]
    return weights


def score(router: Router, labels: Labels) -> dict[str, float]:
    """Accuracy and mean layers of routing, beside full depth and the program that is best for every question alone."""
    return routed(_likely(router.weights, labels.features), labels, router.programs, router.layers, router.margin)


def always(router: Router, labels: Labels) -> list[dict[str, Any]]:
    """Accuracy of each program on all questions: what a router must be better than."""
    shares = labels.right[:, :-1].mean(axis=0)
    return [
        {"program": str(program), "layers": program.cost, "accuracy": round(float(share), 4)}
        for program, share in zip(router.programs, shares, strict=True)
    ]


def routed(
    likely: Floats, labels: Labels, programs: Sequence[LayerProgram], layers: int, margin: float
) -> dict[str, float]:
    """`score` of routing by the probabilities `likely` (questions, programs and full depth)."""
    full = labels.right.shape[1] - 1
    costs = np.array([*(program.cost for program in programs), layers])
    accepted = likely >= likely[:, -1:] - margin
    accepted[:, -1] = True
    chosen = accepted.argmax(axis=1)
    rows = np.arange(len(chosen))
    cheapest = np.where(labels.right.any(axis=1), labels.right.argmax(axis=1), full)
    return {
        "questions": len(chosen),
        "accuracy": round(float(labels.right[rows, chosen].mean()), 4),
        "layers": round(float(costs[chosen].mean()), 3),
        "full_accuracy": round(float(labels.right[:, full].mean()), 4),
        "full_layers": layers,
        "routed_away_from_full": round(float((chosen != full).mean()), 4),
        "oracle_accuracy": round(float(labels.right[rows, cheapest].mean()), 4),
        "oracle_layers": round(float(costs[cheapest].mean()), 3),
    }
