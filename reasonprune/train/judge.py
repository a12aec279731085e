"""Training the head of the encoder judge on recorded traces, after DeepPrune (arXiv 2510.08483).

As there: pairs of truncated traces, focal loss, the rarer class drawn twice as often. Unlike there: questions, not
pairs, are split into training, validation and test; and instead of both orders of each pair the head sees features that
are the same in both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from reasonprune.bench.judge import JudgeConfig, bench_judge
from reasonprune.bench.judging import auroc_within, difficulty_oracle, figures
from reasonprune.bench.provenance import portable, provenance, sha256
from reasonprune.errors import PoolError, RequestError
from reasonprune.judges.cosine import similarity
from reasonprune.judges.encoder import Embed, sentence_encoder
from reasonprune.judges.head import Head, HeadSpec, Inputs
from reasonprune.train.pairs import Examples, Question, collect, embeddings, read_questions, split_of
from reasonprune.train.splits import Split

PACKAGES = ("scikit-learn", "sentence-transformers", "safetensors")
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class TrainConfig:
    """How a head is trained. The focal loss and the oversampling are DeepPrune's, as far as they were published."""

    encoder: str = "minilm"
    shares: tuple[float, ...] = (0.25, 0.5, 0.75)
    inputs: tuple[Inputs, ...] = ("text", "cosine", "embeddings")  # of heads that are tried, the simplest first
    pairs: int = 120  # a question, at each share; all pairs of 16 traces
    epochs: int = 30
    steps: int = 100  # an epoch
    batch: int = 512
    learning_rate: float = 5e-4
    weight_decay: float = 0.1
    patience: int = 6  # epochs without a better validation AUROC
    gain: float = 0.01  # in validation AUROC, for which a less simple head is preferred
    gamma: float = 2.0
    alpha: float = 0.75  # weight of "different", against 1 - alpha of "same"
    oversampling: float = 2.0
    seed: int = 0


def inputs_of(names: str) -> tuple[Inputs, ...]:
    """From the command line, in the order of simplicity; raises RequestError for what is not one of `Inputs`."""
    wanted = {name.strip() for name in names.split(",")}
    if unknown := wanted - set(get_args(Inputs)):
        expected = ", ".join(get_args(Inputs))
        raise RequestError(f"--inputs {','.join(sorted(unknown))}: expected some of {expected}.", "--inputs")
    return tuple(inputs for inputs in get_args(Inputs) if inputs in wanted)


def train(
    files: Sequence[Path],
    out: Path,
    config: TrainConfig,
    embed: Embed | None = None,
    progress: Progress = lambda stage, share: None,
) -> Head:
    """Trains a head for each of `config.inputs`, saves the one to prefer to `out`, and returns it.

    Its `training["test"]` holds the figures on questions that neither training nor validation saw. `embed` replaces the
    sentence encoder `config.encoder`.

    Raises:
        PoolError: a pool cannot be used, or the questions are too few to be split.
    """
    began = time.monotonic()
    questions = [question for file in files for question in read_questions(file)]
    splits = _split(questions, config.seed, files)
    texts: dict[str, int] = {}
    data: dict[Split, Examples] = {}
    for split, members in splits.items():
        data[split] = collect(
            members, config.shares, config.pairs, config.seed, texts, partial(progress, f"pairs, {split}")
        )
    embedded = list(data.values()) if set(config.inputs) != {"text"} else [data["test"]]  # for the cosine's figures
    embed = embed or sentence_encoder(config.encoder)
    vectors = embeddings(texts, embedded, embed, partial(progress, "embeddings"))
    candidates = [_fit(kind, data, vectors, config, partial(progress, f"head, {kind}")) for kind in config.inputs]
    head, auroc, epoch = _preferred(candidates, config.gain)
    _calibrate(head, data["validation"], vectors)
    head.training = {
        "pools": [{"file": f.name, "sha256": sha256(f), "model": _model(f)} for f in files],
        "questions": {split: len({q.digest for q in members}) for split, members in splits.items()},
        "pairs": {split: len(examples.same) for split, examples in data.items()},
        "seen": sorted({q.digest for split in ("train", "validation") for q in splits[split]}),
        "config": asdict(config),
        "validation_auroc_within": {h.spec.inputs: round(value, 4) for h, value, _ in candidates},
        "chosen": {"inputs": head.spec.inputs, "auroc_within": round(auroc, 4), "epoch": epoch},
        "parameters": head.parameters,
        "test": _report(head, data["test"], vectors),
        "seconds": round(time.monotonic() - began),
        "versions": {package: metadata.version(package) for package in PACKAGES},
        "provenance": provenance(config.seed),
    }
    head.save(out)
    return head


def add_llm(
    head: Head, files: Sequence[Path], out: Path, model: str, pairs: int, progress: Progress = lambda stage, share: None
) -> None:
    """Adds to the figures of a head that was saved in `out` those of `model` as a judge without training.

    It is asked about `pairs` pairs a question, of the questions that the head has not seen.
    """

    def told(file: Path) -> Callable[[int, int], None]:
        return lambda done, total: progress(f"llm, {file.name}", done / total)

    for file in files:
        config = JudgeConfig("llm", tuple(head.training["config"]["shares"]), pairs, model=model, unseen_by=out)
        asked = bench_judge(file, config, told(file))
        for share, found in asked["prefix"].items():
            head.training["test"][file.name][share]["llm"] = found
    head.training["llm"] = {"model": portable(model), "pairs_per_question": pairs}
    head.save(out)


def _split(questions: Sequence[Question], seed: int, files: Sequence[Path]) -> dict[Split, list[Question]]:
    splits: dict[Split, list[Question]] = {"train": [], "validation": [], "test": []}
    for question in questions:
        splits[split_of(question, seed)].append(question)
    for split, members in splits.items():
        if not any(_both_kinds(question) for question in members):
            raise PoolError(
                f"The {len(questions)} questions of {', '.join(f.name for f in files)} are too few: {len(members)} are "
                f"for {split}, and in none of these are some answers the same and some different. Add a pool of more "
                "questions (--pool), or try another --seed."
            )
    return splits


def _both_kinds(question: Question) -> bool:
    answers = [question.recorded.traces[i].answer for i in question.traces]
    return 1 < len(set(answers)) < len(answers)


def focal_loss(logits: torch.Tensor, same: torch.Tensor, gamma: float, alpha: float) -> torch.Tensor:
    """-a (1 - p)^gamma log p of each pair's true class, averaged; a is `alpha` for "different". `same`: 0 or 1, [n]."""
    log_p = torch.nn.functional.logsigmoid(torch.where(same > 0, logits, -logits))
    weights = torch.where(same > 0, 1 - alpha, alpha)
    return (-weights * (1 - log_p.exp()) ** gamma * log_p).mean()


def draw_weights(examples: Examples, oversampling: float) -> NDArray[np.float64]:
    """How likely each pair is drawn: every pool as often as the others, its rarer class `oversampling` times. [n]"""
    same, weights = np.asarray(examples.same), np.zeros(len(examples.same))
    for rows in examples.by(lambda cell: cell.pool).values():
        factors = np.where(same[rows] == (same[rows].mean() < 0.5), oversampling, 1.0)
        weights[rows] = factors / factors.sum()
    return weights / weights.sum()


def _fit(
    inputs: Inputs,
    data: dict[Split, Examples],
    vectors: NDArray[np.float32],
    config: TrainConfig,
    progress: Callable[[float], None],
) -> tuple[Head, float, int]:
    """The head of the epoch that was best on validation, its AUROC there, and the number of that epoch."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    encoder = None if inputs == "text" else config.encoder
    head = Head(HeadSpec(inputs, encoder=encoder, dimensions=vectors.shape[1] if inputs == "embeddings" else 0))
    examples, validation = (data[split].batch(vectors) for split in ("train", "validation"))
    same = torch.tensor(data["train"].same, dtype=torch.float32)
    weights = draw_weights(data["train"], config.oversampling)
    head.fit_scaling(examples)
    optimizer = torch.optim.AdamW(head.net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    best, best_epoch, best_state = -1.0, 0, head.net.state_dict()
    for epoch in range(1, config.epochs + 1):
        head.net.train()
        for _ in range(config.steps):
            rows = rng.choice(len(weights), config.batch, p=weights)
            loss = focal_loss(head.logits(examples.take(rows)), same[rows], config.gamma, config.alpha)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        head.net.eval()
        found = _mean_within(head.probabilities(validation), data["validation"])
        if found > best:
            best, best_epoch = found, epoch
            best_state = {name: tensor.clone() for name, tensor in head.net.state_dict().items()}
        progress(epoch / config.epochs)
        if epoch - best_epoch >= config.patience:
            break
    progress(1.0)
    head.net.load_state_dict(best_state)
    return head, best, best_epoch


def _mean_within(scores: NDArray[np.float32], examples: Examples) -> float:
    """Within-question AUROC, the mean over cells, so that a small pool counts as much as a large one."""
    found = (auroc_within(*examples.scored(scores, rows))[0] for rows in examples.by(lambda cell: cell).values())
    defined = [value for value in found if value is not None]
    return sum(defined) / len(defined)


def _preferred(candidates: Sequence[tuple[Head, float, int]], gain: float) -> tuple[Head, float, int]:
    """The simplest head that is not worse than the best by more than `gain`; embeddings cost most of a judge's time."""
    best = max(auroc for _, auroc, _ in candidates)
    return next(candidate for candidate in candidates if candidate[1] >= best - gain)


def _calibrate(head: Head, examples: Examples, vectors: NDArray[np.float32]) -> None:
    """Makes probabilities of the scores (Platt scaling): focal loss and the drawing of pairs leave them skewed."""
    with torch.inference_mode():
        logits = head.logits(examples.batch(vectors)).numpy()
    platt = LogisticRegression(C=1e6).fit(logits[:, None], examples.same, draw_weights(examples, 1.0) * len(logits))
    if platt.coef_[0, 0] > 0:  # else the head has learned nothing, and its order must not be turned round
        head.net.calibration.copy_(torch.tensor([platt.coef_[0, 0], platt.intercept_[0]]))


def _report(head: Head, examples: Examples, vectors: NDArray[np.float32]) -> dict[str, Any]:
    """For each pool: figures at each share, and over all shares for the other cuts; of head, cosine and oracle."""
    batch = examples.batch(vectors)
    judges = {"encoder": head.probabilities(batch), "cosine": similarity(*batch.sides())}
    report: dict[str, Any] = {}
    groups = examples.by(lambda c: (c.pool, f"{c.share:g}" if c.cut == "share" else c.cut))
    for pool, cut in sorted(groups):
        rows = groups[pool, cut]
        found = {name: figures(*examples.scored(scores, rows)) for name, scores in judges.items()}
        _, same, questions = examples.scored(batch.features[:, 0], rows)
        found["oracle"] = figures(difficulty_oracle(same, questions), same, questions)
        report.setdefault(pool, {})[cut] = found
    return report


def _model(file: Path) -> str | None:
    """The model that a pool of ours names in its first line."""
    with file.open(encoding="utf-8") as lines:
        try:
            model = json.loads(next(lines))["model"]
        except (ValueError, KeyError, TypeError, StopIteration):
            return None
    return portable(str(model))
