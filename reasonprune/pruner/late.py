"""A network whose lower part reads question and context apart, and whose narrow upper part brings both together.

The lower part is the first layers of a sentence encoder, frozen and not copied, so that a context needs them once,
however many questions are asked of it (as PreTTR does it, MacAvaney et al., arXiv 2004.14255). The upper part, which
is all that is trained, lets every token of the context attend to the question (as in BiDAF, Seo et al.,
arXiv 1611.01603), then the tokens of the context to each other, and ends in the two heads of Provence
(arXiv 2501.16214): a keep logit for every token and a ranking logit for the whole.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from reasonprune.errors import ModelError


class LateNet(nn.Module):
    """`lower` makes states of token ids; `forward` makes keep and ranking logits of both states.

    `join`: lower layers; `width` and `depth`: of the upper part. Masks are 1 for tokens and 0 for padding; T is tokens
    of a question, S of a context, H the encoder's width.
    """

    def __init__(self, encoder: Any, join: int, width: int = 192, depth: int = 2) -> None:
        super().__init__()
        layers = getattr(getattr(encoder, "encoder", None), "layer", None)
        if not isinstance(layers, nn.ModuleList) or not 0 < join <= len(layers) or not hasattr(encoder, "embeddings"):
            raise ModelError(
                f"{type(encoder).__name__} is not an encoder of BERT's make with at least {join} layers; a late pruner"
                " needs one."
            )
        self.embeddings = encoder.embeddings.requires_grad_(False)
        self.below = layers[:join].requires_grad_(False)
        self.rest = layers[join:].requires_grad_(False)
        hidden = int(encoder.config.hidden_size)
        self.narrow = nn.Linear(hidden, width)
        self.match = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.match.weight)  # to begin with, tokens attend to tokens like them
        self.merge = nn.Linear(3 * width + 1, width)
        self.above = nn.ModuleList([_Layer(width) for _ in range(depth)])
        self.last = nn.LayerNorm(width)
        self.keep = nn.Linear(width, 1)
        self.rank = nn.Linear(2 * width, 1)

    @property
    def trained(self) -> dict[str, Tensor]:
        """What training changes, by the name it is saved under."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def lower(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States (batch, tokens, H) of questions or contexts, read apart."""
        return _through(self.below, self.embeddings(input_ids=ids), mask)

    def vectors(self, states: Tensor, mask: Tensor) -> Tensor:
        """The encoder's own sentence vectors (batch, H), of length 1, from what `lower` made: means of its last states.

        The encoder's other layers make them, which are neither copied nor trained either.
        """
        last, counted = _through(self.rest, states, mask).float(), mask[..., None].float()
        return nn.functional.normalize((last * counted).sum(1) / counted.sum(1), dim=-1)

    def forward(
        self, question: Tensor, question_mask: Tensor, context: Tensor, context_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """From states (batch, T, H) and (batch, S, H): keep logits (batch, S) and ranking logits (batch)."""
        asked, read = self.narrow(question), self.narrow(context)
        scores = (self.match(read) @ asked.transpose(1, 2)).float() / math.sqrt(asked.shape[-1])
        scores = scores + _hidden(question_mask)[:, None, :]
        found = scores.softmax(-1).to(asked.dtype) @ asked
        best = scores.amax(-1, keepdim=True).to(read.dtype)
        states = self.merge(torch.cat([read, found, read * found, best], -1))
        hidden = _hidden(context_mask)
        for layer in self.above:
            states = layer(states, hidden[:, None, None, :])
        states = self.last(states)
        counted = context_mask[..., None].to(states.dtype)
        mean = (states * counted).sum(1) / counted.sum(1)
        most = (states + hidden[..., None]).amax(1)
        return self.keep(states).squeeze(-1), self.rank(torch.cat([mean, most], -1)).squeeze(-1)


class _Layer(nn.Module):
    """A transformer layer that normalises first, with heads of 32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before_attention, self.before_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, states: Tensor, hidden: Tensor) -> Tensor:
        batch, tokens, width = states.shape
        made = self.attention(self.before_attention(states)).view(batch, tokens, 3, width // 32, 32)
        query, key, value = made.permute(2, 0, 3, 1, 4)
        scores = (query / math.sqrt(32)) @ key.transpose(-1, -2) + hidden.to(query.dtype)
        read = (scores.softmax(-1).to(value.dtype) @ value).transpose(1, 2).reshape(batch, tokens, width)
        states = states + self.out(read)
        return states + self.down(nn.functional.gelu(self.up(self.before_feed(states))))


def _through(layers: Any, states: Tensor, mask: Tensor) -> Tensor:
    extended = _hidden(mask)[:, None, None, :].to(states.dtype)
    for layer in layers:
        states = layer(states, extended)
    return states


def _hidden(mask: Tensor) -> Tensor:
    """What is added to the scores of tokens so that padding has no part: 0 for tokens, much below 0 for padding."""
    return (mask.float() - 1.0) * 1e4
