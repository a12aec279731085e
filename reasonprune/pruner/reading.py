"""How a model reads questions with contexts: one way for cross-encoders, one for our own network of two halves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from reasonprune.pruner.late import LateNet
from reasonprune.pruner.rounding import Calibration

EVEN = 0.5
"""The cosine that says nothing either way, so that ranking scores spread over 0 to 1."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Reading:
    """A batch as read. For each context: the characters (start, end) of its tokens, the probability that each is to be
    kept, and one ranking logit."""

    spans: list[list[tuple[int, int]]]
    keep: list[list[float]]
    rank: list[float]


class Model(Protocol):
    """What is needed of a model. `max_length`: tokens it reads at once."""

    tokenizer: Any
    max_length: int
    calibration: Calibration

    def room(self, question_tokens: int) -> int:
        """Tokens of context that fit beside a question of so many tokens."""

    def read(self, questions: Sequence[str], texts: Sequence[str]) -> Reading:
        """Reads each question with the text of the same index, cut where it does not fit."""


class CrossModel:
    """A cross-encoder: question and context in one sequence, as published checkpoints have it.

    `network` takes the tokenizer's tensors and returns keep logits (batch, tokens) and ranking logits (batch).
    """

    def __init__(self, tokenizer: Any, network: nn.Module, max_length: int, device: str | None = None) -> None:
        self.tokenizer, self.max_length, self.calibration = tokenizer, max_length, Calibration()
        self.network, self.device = on_device(network, device)
        pair, single = tokenizer("a", "a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
        self._special = len(pair) - 2 * len(single)

    def room(self, question_tokens: int) -> int:
        return self.max_length - self._special - question_tokens

    def read(self, questions: Sequence[str], texts: Sequence[str]) -> Reading:
        encoding = self.tokenizer(
            list(questions),
            list(texts),
            truncation="only_second",
            max_length=self.max_length,
            padding=True,
            return_offsets_mapping=True,
        )
        inputs = {k: torch.tensor(encoding[k], device=self.device) for k in INPUTS if k in encoding}
        with torch.inference_mode(), lowered(self.device):
            keep, rank = self.network(**inputs)
        probabilities = torch.sigmoid(keep.float()).tolist()
        reading = Reading([], [], rank.float().tolist())
        for row, spans in enumerate(encoding["offset_mapping"]):
            inside = [i for i, part in enumerate(encoding.sequence_ids(row)) if part == 1]
            reading.spans.append([spans[i] for i in inside])
            reading.keep.append([probabilities[row][i] for i in inside])
        return reading


@dataclass(frozen=True)
class Ranking:
    """How a `LateModel` ranks: head * (logit of the ranking head) + likeness * (cosine - EVEN).

    The cosine is that of the base encoder's own vectors of question and text. The encoder has seen far more kinds of
    questions than a head that was trained on a few: where the head is sure of what it does not know, leave it out.
    """

    head: float = 1.0
    likeness: float = 0.0

    def of(self, logits: Tensor, cosines: Tensor) -> Tensor:
        return self.head * logits + self.likeness * (cosines - EVEN)


class LateModel:
    """A `LateNet`. What the lower layers make of a text is kept, up to `cached_tokens`, for the next question on it."""

    def __init__(
        self,
        tokenizer: Any,
        network: LateNet,
        max_length: int,
        device: str | None = None,
        calibration: Calibration | None = None,
        ranking: Ranking | None = None,
        cached_tokens: int = 1 << 16,
    ) -> None:
        self.tokenizer, self.max_length, self.calibration = tokenizer, max_length, calibration or Calibration()
        self.device, self.ranking = device_of(device), ranking or Ranking()
        self.network = network.eval().to(self.device)
        self._states: OrderedDict[str, _Lower] = OrderedDict()
        self._limit, self._held = cached_tokens, 0

    def room(self, question_tokens: int) -> int:
        return self.max_length - 2  # the question has a sequence of its own

    def read(self, questions: Sequence[str], texts: Sequence[str]) -> Reading:
        with torch.inference_mode(), lowered(self.device):
            read = self._lower(list(dict.fromkeys([*questions, *texts])))
            question, question_mask = _padded([read[one].states for one in questions])
            context, context_mask = _padded([read[one].states for one in texts])
            keep, rank = self.network(question, question_mask, context, context_mask)
            rank = rank.float()
            if self.ranking.likeness:
                asked, given = (torch.stack([read[one].vector for one in part]) for part in (questions, texts))
                rank = self.ranking.of(rank, (asked * given).sum(1))
        probabilities = torch.sigmoid(keep.float()).tolist()
        reading = Reading([], [], rank.tolist())
        for text, row in zip(texts, probabilities, strict=True):
            inside = [i for i, (start, end) in enumerate(read[text].spans) if start < end]
            reading.spans.append([read[text].spans[i] for i in inside])
            reading.keep.append([row[i] for i in inside])
        return reading

    def _lower(self, texts: list[str]) -> dict[str, _Lower]:
        held = {text: self._states[text] for text in texts if text in self._states}
        # A text that was read while no cosine was wanted has no vector.
        found = {text: one for text, one in held.items() if one.vector is not None or not self.ranking.likeness}
        if new := [text for text in texts if text not in found]:
            # Questions are short: padded to the length of contexts they would cost as much.
            new.sort(key=len)
            cut = next((i for i, text in enumerate(new) if len(text) > 3 * len(new[0]) + 100), len(new))
            for part in (new[:cut], new[cut:]):
                found |= self._encoded(part) if part else {}
            self._remember(found, new)
        for text in found:
            if text in self._states:
                self._states.move_to_end(text)
        return found

    def _encoded(self, texts: list[str]) -> dict[str, _Lower]:
        encoding = self.tokenizer(
            texts, truncation=True, max_length=self.max_length, padding=True, return_offsets_mapping=True
        )
        ids, mask = (torch.tensor(encoding[name], device=self.device) for name in INPUTS[:2])
        states = self.network.lower(ids, mask)
        vectors = self.network.vectors(states, mask) if self.ranking.likeness else None
        lengths = mask.sum(1).tolist()
        spans = encoding["offset_mapping"]
        return {
            text: _Lower(
                states[i, : lengths[i]].clone(), spans[i][: lengths[i]], vectors[i] if vectors is not None else None
            )
            for i, text in enumerate(texts)
        }

    def _remember(self, found: dict[str, _Lower], new: list[str]) -> None:
        for text in new:
            self._held += len(found[text].spans) * (text not in self._states)
            self._states[text] = found[text]
        while self._held > self._limit:
            _, oldest = self._states.popitem(last=False)
            self._held -= len(oldest.spans)


@dataclass(frozen=True)
class _Lower:
    """A text after the lower layers: states (tokens, H), the characters of each token, and its vector (H) if used."""

    states: Tensor
    spans: list[tuple[int, int]]
    vector: Tensor | None


def _padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """States as (batch, tokens, H), and their mask."""
    states = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.zeros(states.shape[:2], device=states.device)
    for i, row in enumerate(rows):
        mask[i, : len(row)] = 1
    return states, mask


def device_of(device: str | None) -> str:
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def on_device(network: nn.Module, device: str | None) -> tuple[nn.Module, str]:
    chosen = device_of(device)
    return network.eval().to(chosen), chosen


def lowered(device: str) -> Any:
    """bfloat16 where the hardware multiplies it: on GPUs, and on CPUs with AMX; elsewhere float32 is faster."""
    fast = device != "cpu" or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.partition(":")[0], dtype=torch.bfloat16, enabled=fast)
