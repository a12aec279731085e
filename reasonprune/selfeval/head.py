"""The value head: two linear maps on the hidden state of a trace's last token, as the engine computes it anyway.

It reads what the model's own output layer reads, so it costs no forward pass, and beside it the trail of how likely the
tokens so far were. Where a trace has ended by itself, the state is of another kind than on the way: each kind has its
map. After ZIP-RC (arXiv 2512.01457) it predicts a value and the remaining length; unlike there, by weights of its own
and not by reserved tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from reasonprune.selfeval.score import SelfScore
from reasonprune.selfeval.trail import trails
from reasonprune.selfeval.trained import describe, save_description, unusable

WEIGHTS = "head.safetensors"
CLIP = 8.0  # standard deviations; a state unlike all of training must not run away with the score
BIN_EDGES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)  # of remaining lengths, in tokens
RIGHT, UNBEATEN, BINS = 0, 1, 2  # columns of the output: two logits, then those of the bins
OUTPUTS = BINS + len(BIN_EDGES) + 1


@dataclass(frozen=True)
class HeadSpec:
    """`width`: components of a hidden state and its trail."""

    width: int


class ValueHead(nn.Module):  # type: ignore[misc]
    """Hidden states with their trails, [n, width], to scores; scaling is part of the weights, and so is calibration."""

    mean: torch.Tensor
    scale: torch.Tensor
    lengths: torch.Tensor

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.running = nn.Linear(spec.width, OUTPUTS)
        self.ended = nn.Linear(spec.width, OUTPUTS)
        self.register_buffer("mean", torch.zeros(spec.width))
        self.register_buffer("scale", torch.ones(spec.width))
        self.register_buffer("lengths", torch.tensor([8.0, *BIN_EDGES]))  # mean remaining tokens of each bin
        self.eval()

    def fit_scaling(self, states: torch.Tensor) -> None:
        """Every component to mean 0 and deviation 1 over `states`, [n, width]."""
        self.mean.copy_(states.mean(0))
        self.scale.copy_(1 / (states.std(0) + 1e-3))

    def fit_lengths(self, remaining: torch.Tensor) -> None:
        """The value of each bin: the mean of the lengths (in tokens, [n]) that fall into it."""
        bins = bin_of(remaining)
        for i in range(len(self.lengths)):
            if bool((bins == i).any()):
                self.lengths[i] = remaining[bins == i].mean()

    def scaled(self, states: torch.Tensor) -> torch.Tensor:
        """What the maps read, [n, width]."""
        return ((states.float() - self.mean) * self.scale).clamp(-CLIP, CLIP)

    def forward(self, states: torch.Tensor, ended: torch.Tensor) -> torch.Tensor:
        """[n, OUTPUTS]: logits of being right and of being unbeaten, then those of the bins.

        `ended`: [n], whether the token that is sampled from a state ends its trace; a limit on its length does not.
        """
        scaled = self.scaled(states)
        return torch.where(ended[:, None], self.ended(scaled), self.running(scaled))

    def values(self, states: torch.Tensor, ended: torch.Tensor) -> torch.Tensor:
        """[n, 3]: probability of being right, of being unbeaten, and expected remaining tokens; 0 once ended."""
        with torch.inference_mode():
            outputs = self(states, ended)
            remaining = (outputs[:, BINS:].softmax(1) @ self.lengths).masked_fill(ended, 0.0)
            return torch.cat([torch.sigmoid(outputs[:, :BINS]), remaining[:, None]], dim=1)

    def scores(self, states: torch.Tensor, ended: torch.Tensor) -> list[SelfScore]:
        return scores_of(self.values(states, ended).tolist())

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def save(self, folder: Path, model: str, mark: str, training: dict[str, Any]) -> None:
        """As head.safetensors and self-eval.json."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, folder / WEIGHTS)
        (folder / WEIGHTS).chmod(0o644)  # safetensors writes for its owner only
        save_description(folder, "head", model, mark, asdict(self.spec), training)

    @classmethod
    def load(cls, folder: Path) -> ValueHead:
        """Raises ModelError. Whether it suits a model is for `trained.find` to say."""
        description = describe(folder)
        try:
            head = cls(HeadSpec(**description["spec"]))
            head.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise unusable(folder, error) from None
        return head


def with_trails(states: torch.Tensor, logprobs: Sequence[Sequence[float]]) -> torch.Tensor:
    """What a head reads, [n, width]: hidden states, each with the trail of its trace's tokens so far.

    `states`: [n, hidden width]; `logprobs`: n traces' log-probabilities of the tokens that each state has read.
    """
    read = torch.from_numpy(trails(logprobs)).to(states.device, torch.float32)
    return torch.cat([states.float(), read], dim=1)


def bin_of(remaining: torch.Tensor) -> torch.Tensor:
    """The bin of each remaining length, 0 to len(BIN_EDGES)."""
    return torch.bucketize(remaining, torch.tensor(BIN_EDGES, dtype=remaining.dtype), right=True)


def scores_of(values: Sequence[Sequence[float]]) -> list[SelfScore]:
    """Rows of `ValueHead.values` as scores."""
    return [SelfScore(right, unbeaten, remaining) for right, unbeaten, remaining in values]
