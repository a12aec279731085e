"""Trains a context pruner on top of a sentence encoder: the upper part of a `LateNet` with its two heads.

Every question is shown with its own context and, some of them, with one that does not answer it: a hard one from the
same article, or a distractor from elsewhere. Losses as in Provence (arXiv 2501.16214), cross entropy over the
context's tokens plus a weighted ranking loss; and cross entropy over the sentences, of which one is to win.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from tqdm import tqdm

from reasonprune.errors import DataError
from reasonprune.pruner.late import LateNet
from reasonprune.pruner.weights import Recipe, open_encoder, read_tensors, save
from reasonprune.train.evidence import Evidence, by_group, held_out, read_evidence

OUTSIDE = -1
"""The sentence of a token that belongs to none: padding, and the special token at the end."""


@dataclass(frozen=True)
class TrainConfig:
    """How a pruner is trained. `absent_share`: how many questions are shown with a context that does not answer too.

    `shown_sentences`: of a context, this many are shown at once, those that answer among them. Their states come from
    the whole context, so little is lost, and a step takes half the time. `minutes`: of fitting, at most; the learning
    rate falls in time for it.
    """

    base: str = "minilm"
    join: int = 4
    width: int = 192
    depth: int = 2
    epochs: float = 3.0
    minutes: float | None = None
    learning_rate: float = 1e-3
    warmup_share: float = 0.06
    batch: int = 32
    max_length: int = 320
    rank_weight: float = 0.2
    sentence_weight: float = 0.5
    absent_share: float = 0.5
    shown_sentences: int = 5
    hard_share: float = 0.5
    held_out_share: float = 0.0
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Read:
    """A text after the lower layers: states (tokens, H) in bf16, and the sentence of each token."""

    states: Tensor
    sentences: Tensor


@dataclass(frozen=True)
class Shown:
    """A question with one context; `labels` by sentence."""

    question: Read
    context: Read
    labels: tuple[bool, ...]


class Reader:
    """Runs the frozen lower layers over every text once."""

    def __init__(self, tokenizer: Any, net: LateNet, max_length: int) -> None:
        self._tokenizer, self._net, self._max_length = tokenizer, net, max_length

    def read(self, texts: Sequence[tuple[str, ...]], title: str) -> dict[tuple[str, ...], Read]:
        """Each text is given as its sentences; a question is one."""
        ordered = sorted(set(texts), key=lambda sentences: sum(map(len, sentences)))
        found: dict[tuple[str, ...], Read] = {}
        for begin in tqdm(range(0, len(ordered), 32), desc=title, mininterval=5):
            found |= self._batch(ordered[begin : begin + 32])
        return found

    def _batch(self, texts: list[tuple[str, ...]]) -> dict[tuple[str, ...], Read]:
        encoding = self._tokenizer(
            ["".join(sentences) for sentences in texts],
            truncation=True,
            max_length=self._max_length,
            padding=True,
            return_offsets_mapping=True,
        )
        ids, mask = torch.tensor(encoding["input_ids"]), torch.tensor(encoding["attention_mask"])
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            states = self._net.lower(ids, mask).to(torch.bfloat16)
        read = {}
        for row, sentences in enumerate(texts):
            length = int(mask[row].sum())
            owners = sentence_of_tokens(sentences, encoding["offset_mapping"][row][:length])
            read[sentences] = Read(states[row, :length].clone(), torch.tensor(owners))
        return read


def sentence_of_tokens(sentences: Sequence[str], spans: Sequence[tuple[int, int]]) -> list[int]:
    """For each token the index of the sentence that holds its middle, OUTSIDE for special tokens."""
    ends, end = [], 0
    for sentence in sentences:
        end += len(sentence)
        ends.append(end)
    owners, at = [], 0
    for start, stop in spans:
        if start == stop:
            owners.append(OUTSIDE)
            continue
        while at + 1 < len(ends) and (start + stop) / 2 >= ends[at]:
            at += 1
        owners.append(at)
    return owners


class Sampler:
    """Draws what is shown of each question; the same for the same seed."""

    def __init__(self, examples: Sequence[Evidence], reads: dict[tuple[str, ...], Read], config: TrainConfig) -> None:
        self._examples, self._reads, self._config = list(examples), reads, config
        self._groups = by_group(examples)
        self._rng = random.Random(config.seed)

    def epoch(self) -> Iterator[list[Shown]]:
        """What is shown of each question, in a new order."""
        for example in self._rng.sample(self._examples, len(self._examples)):
            question = self._reads[(example.question,)]
            shown = [self._cropped(question, example.sentences, example.labels)]
            other = self._other(example) if self._rng.random() < self._config.absent_share else None
            if other is not None:
                shown.append(self._cropped(question, other, (False,) * len(other)))
            yield shown

    def _cropped(self, question: Read, sentences: tuple[str, ...], labels: tuple[bool, ...]) -> Shown:
        """The answering sentences and others, drawn anew each time, in their order."""
        context, most = self._reads[sentences], self._config.shown_sentences
        if len(labels) <= most:
            return Shown(question, context, labels)
        answers = [i for i, label in enumerate(labels) if label]
        rest = [i for i, label in enumerate(labels) if not label]
        chosen = sorted([*answers, *self._rng.sample(rest, max(0, min(len(rest), most - len(answers))))])
        place = torch.full((len(labels) + 1,), OUTSIDE)
        place[chosen] = torch.arange(len(chosen))
        owners = place[context.sentences]  # that of OUTSIDE, -1, is the last, which is not chosen
        stays = (owners != OUTSIDE) | (context.sentences == OUTSIDE)
        return Shown(question, Read(context.states[stays], owners[stays]), tuple(labels[i] for i in chosen))

    def _other(self, example: Evidence) -> tuple[str, ...] | None:
        """A context without the answering sentences: of the same article, or of any."""
        answers = {s.strip() for s, label in zip(example.sentences, example.labels, strict=True) if label}
        hard = self._rng.random() < self._config.hard_share
        for _ in range(8):
            other = self._rng.choice(self._groups[example.group] if hard else self._examples)
            if not answers & {s.strip() for s in other.sentences}:
                return other.sentences
            hard = hard and self._rng.random() < 0.7  # an article can consist of one paragraph
        return None


@dataclass(frozen=True)
class Batch:
    """Padded: states and masks of questions and contexts, sentence of each token, labels (batch, sentences)."""

    question: Tensor
    question_mask: Tensor
    context: Tensor
    context_mask: Tensor
    sentences: Tensor
    labels: Tensor

    @property
    def size(self) -> int:
        return len(self.labels)


def batches(sampler: Sampler, size: int, seed: int) -> Iterator[tuple[int, Batch]]:
    """Batches of contexts of like length, each with the number of questions it is the first to show; without end."""
    rng = random.Random(seed)
    while True:
        pending: list[tuple[int, Shown]] = []
        for shown in sampler.epoch():
            pending += [(int(i == 0), one) for i, one in enumerate(shown)]
            if len(pending) >= 16 * size:
                yield from _sorted(pending, size, rng)
                pending = []
        yield from _sorted(pending, size, rng)


def _sorted(pending: list[tuple[int, Shown]], size: int, rng: random.Random) -> Iterator[tuple[int, Batch]]:
    pending.sort(key=lambda pair: len(pair[1].context.states))
    starts = list(range(0, len(pending), size))
    rng.shuffle(starts)
    for start in starts:
        chosen = pending[start : start + size]
        yield sum(first for first, _ in chosen), collated([shown for _, shown in chosen])


def collated(shown: Sequence[Shown]) -> Batch:
    pad = torch.nn.utils.rnn.pad_sequence
    question = pad([one.question.states for one in shown], batch_first=True)
    context = pad([one.context.states for one in shown], batch_first=True)
    sentences = pad([one.context.sentences for one in shown], batch_first=True, padding_value=OUTSIDE)
    labels = torch.zeros(len(shown), max(len(one.labels) for one in shown))
    for row, one in enumerate(shown):
        labels[row, : len(one.labels)] = torch.tensor(one.labels, dtype=torch.float)
    masks = [
        pad([torch.ones(len(states)) for states in rows], batch_first=True)
        for rows in ([one.question.states for one in shown], [one.context.states for one in shown])
    ]
    return Batch(question, masks[0], context, masks[1], sentences, labels)


def losses(net: LateNet, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cross entropies over tokens, over contexts (does it answer?), and over sentences (which one does?)."""
    keep, rank = net(batch.question, batch.question_mask, batch.context, batch.context_mask)
    keep, counted = keep.float(), batch.sentences != OUTSIDE
    wanted = batch.labels.gather(1, batch.sentences.clamp(min=0))
    tokens = cross_entropy(keep[counted], wanted[counted])
    present = batch.labels.amax(1)
    contexts = cross_entropy(rank.float(), present)

    count = batch.labels.shape[1]
    member = torch.nn.functional.one_hot(batch.sentences.clamp(min=0), count) * counted[..., None]
    sizes = member.sum(1)
    means = (keep[..., None] * member).sum(1) / sizes.clamp(min=1)
    spread = means.masked_fill(sizes == 0, -1e4).log_softmax(1)
    answers = batch.labels * (sizes > 0)  # what was cut off cannot win
    share = answers / answers.sum(1, keepdim=True).clamp(min=1)
    sentences = -(share * spread).sum() / answers.amax(1).sum().clamp(min=1)
    return tokens, contexts, sentences


def learning_rate_at(done: float, config: TrainConfig) -> float:
    """Linear warm-up, then linearly down to nothing; `done` is the share of the training that is over."""
    if done < config.warmup_share:
        return config.learning_rate * max(done, 1e-3) / config.warmup_share
    return config.learning_rate * (1 - done) / (1 - config.warmup_share)


def train(files: Sequence[Path], out: Path, config: TrainConfig, begin_with: Path | None = None) -> dict[str, Any]:
    """Train on the files and save to `out`: weights, `pruner.json`, and `training.json` with how they came about.

    Articles set aside by `held_out_share` are named in `training.json` and never shown. `begin_with` is such a folder,
    whose weights are trained further. Returns what was written to `training.json`.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    per_file = {path.name: read_evidence(path) for path in files}
    examples = [example for found in per_file.values() for example in found]
    aside: set[str] = set()
    if config.held_out_share and examples:
        aside = held_out([example.group for example in examples], config.held_out_share, config.seed)
    examples = [example for example in examples if example.group not in aside and example.context.strip()]
    if not examples:
        raise DataError("The files hold no questions with contexts.")

    tokenizer, encoder = open_encoder(config.base)
    encoder.set_attn_implementation("eager")  # on a CPU its backward pass is twice as fast
    net = LateNet(encoder, config.join, config.width, config.depth).eval()  # no dropout: hardly anything is seen twice
    earlier = resume(net, begin_with) if begin_with is not None else []
    began = time.monotonic()
    reader = Reader(tokenizer, net, config.max_length)
    reads = reader.read([example.sentences for example in examples], "contexts")
    reads |= reader.read([(example.question,) for example in examples], "questions")
    phase = {
        "config": asdict(config),
        "questions": {name: len(found) for name, found in per_file.items()},
        "held_out": sorted(aside),
        **_fit(net, batches(Sampler(examples, reads, config), config.batch, config.seed), len(examples), config),
        "seconds": round(time.monotonic() - began),
    }
    record = {"phases": [*earlier, phase], "torch": torch.__version__}
    recipe = Recipe(
        base=config.base, join=config.join, width=config.width, depth=config.depth, max_length=config.max_length
    )
    save(out, net.trained, recipe)
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def resume(net: LateNet, folder: Path) -> list[dict[str, Any]]:
    """Sets what is trained to what `folder` holds, and returns the phases it was trained in."""
    saved, trained = read_tensors(folder), net.trained
    if saved.keys() != trained.keys() or any(saved[name].shape != p.shape for name, p in trained.items()):
        raise DataError(f"{folder} was trained on another base or join; it cannot be trained further so.")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(saved[name])
    phases: list[dict[str, Any]] = json.loads((folder / "training.json").read_text(encoding="utf-8"))["phases"]
    return phases


def _fit(net: LateNet, made: Iterator[tuple[int, Batch]], questions: int, config: TrainConfig) -> dict[str, Any]:
    trained = list(net.trained.values())
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    wanted, seen, step, smooth = round(config.epochs * questions), 0, 0, math.nan
    began, limit = time.monotonic(), 60 * config.minutes if config.minutes else math.inf
    with tqdm(total=wanted, desc="pruner", unit="q", mininterval=5) as bar:
        while (done := max(seen / wanted, (time.monotonic() - began) / limit)) < 1:
            first, batch = next(made)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(done, config)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                tokens, contexts, sentences = losses(net, batch)
            (tokens + config.rank_weight * contexts + config.sentence_weight * sentences).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            smooth = tokens.item() if math.isnan(smooth) else 0.98 * smooth + 0.02 * tokens.item()
            seen, step = seen + first, step + 1
            bar.update(first)
            bar.set_postfix(loss=f"{smooth:.4f}", sentences=f"{sentences.item():.3f}")
    return {"steps": step, "epochs_done": round(seen / questions, 3), "final_loss": round(smooth, 4)}
