"""A network whose lower layers read question and context apart, and whose upper layers read both in one sequence.

After PreTTR (MacAvaney et al., arXiv 2004.14255): the lower layers are those of a sentence encoder, frozen and not
copied; the upper ones are trained, with the heads of Provence (arXiv 2501.16214). Contexts need their lower layers
once, however many questions are asked of them, in training as in use.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from reasonprune.errors import ModelError


class LateNet(nn.Module):
    """`lower` makes states of token ids; `forward` makes keep and ranking logits of both states.

    `join` is the number of lower layers. Masks are 1 for tokens and 0 for padding; T is tokens of a question, S of a
    context, H the encoder's width.
    """

    def __init__(self, encoder: Any, join: int) -> None:
        super().__init__()
        layers = getattr(getattr(encoder, "encoder", None), "layer", None)
        if not isinstance(layers, nn.ModuleList) or not 0 < join < len(layers) or not hasattr(encoder, "embeddings"):
            raise ModelError(
                f"{type(encoder).__name__} is not an encoder of BERT's make with more than {join} layers; a late"
                " pruner needs one."
            )
        self.embeddings = encoder.embeddings
        self.below = layers[:join]
        self.above = copy.deepcopy(layers[join:])
        self.base = layers[join:]
        hidden = int(encoder.config.hidden_size)
        self.segment = nn.Parameter(torch.zeros(hidden))
        self.keep = nn.Linear(hidden, 1)
        self.rank = nn.Linear(hidden, 1)
        for part in (self.embeddings, self.below, self.base):
            part.requires_grad_(False)

    @property
    def trained(self) -> dict[str, Tensor]:
        """What training changes, by the name it is saved under."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def lower(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States (batch, tokens, H) of questions or contexts, read apart."""
        states = self.embeddings(input_ids=ids)
        extended = _additive(mask, states.dtype)
        for layer in self.below:
            states = layer(states, extended)
        return states

    def vectors(self, states: Tensor, mask: Tensor) -> Tensor:
        """Token states (batch, tokens, H) at the top of the untrained encoder: their means embed sentences."""
        extended = _additive(mask, states.dtype)
        for layer in self.base:
            states = layer(states, extended)
        return states

    def forward(
        self, question: Tensor, question_mask: Tensor, context: Tensor, context_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """From states (batch, T, H) and (batch, S, H): keep logits (batch, S) and ranking logits (batch)."""
        states = torch.cat([question, context + self.segment], 1)
        extended = _additive(torch.cat([question_mask, context_mask], 1), states.dtype)
        for layer in self.above:
            states = layer(states, extended)
        return self.keep(states[:, question.shape[1] :]).squeeze(-1), self.rank(states[:, 0]).squeeze(-1)


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(batch, tokens) of 0 and 1 as what attention adds to its scores: (batch, 1, 1, tokens)."""
    return (1.0 - mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min
