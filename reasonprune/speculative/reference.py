"""A decoder that verifies whole trees, on transformers: one forward pass with a tree attention mask a round.

Not for serving: it decodes one prompt at a time. It shows what verifying the fused tree gains over its best chain,
which is all that vLLM's verification takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from reasonprune.speculative.tree import TokenTree
from reasonprune.speculative.verification import attention_mask, verify_greedy, verify_sampling

Propose = Callable[[Sequence[int]], TokenTree]
"""Committed tokens, the last of which is the tree's root -> drafts of what follows."""


@dataclass(frozen=True)
class Decoded:
    """Output tokens; forward passes after that of the prompt; draft tokens that were verified."""

    tokens: list[int]
    rounds: int
    verified: int

    @property
    def acceptance_length(self) -> float:
        """Tokens a round; the first token comes from the prompt's own pass."""
        return (len(self.tokens) - 1) / self.rounds if self.rounds else 0.0


class TreeDecoder:
    """Decodes with a causal language model of transformers; a temperature of 0 is greedy."""

    def __init__(self, model: Any, temperature: float = 0.0, seed: int = 0) -> None:
        self._model = model
        self._temperature = temperature
        self._rng = np.random.default_rng(seed)

    def decode(self, prompt: Sequence[int], max_tokens: int, propose: Propose, end: int | None = None) -> Decoded:
        """Up to `max_tokens` tokens after `prompt`, ending with the token `end`. Neither depends on `propose`."""
        with torch.inference_mode():
            return self._decode(prompt, max_tokens, propose, end)

    def _decode(self, prompt: Sequence[int], max_tokens: int, propose: Propose, end: int | None) -> Decoded:
        cache = DynamicCache()
        logits = self._model(input_ids=torch.tensor([list(prompt)]), past_key_values=cache, use_cache=True).logits[0]
        _, token = self._verify(TokenTree(), logits[-1:])
        output, rounds, verified = [token], 0, 0
        while len(output) < max_tokens and output[-1] != end:
            tree = propose([*prompt, *output])
            committed = len(prompt) + len(output) - 1
            accepted, token = self._verify(tree, self._forward(tree, output[-1], committed, cache))
            self._keep(cache, committed, [0, *accepted])
            rounds, verified = rounds + 1, verified + len(tree)
            new = [*(tree.tokens[node] for node in accepted), token]
            output += new[: new.index(end) + 1] if end in new else new
        return Decoded(output[:max_tokens], rounds, verified)

    def distributions(self, prompt: Sequence[int], tree: TokenTree) -> np.ndarray:
        """(nodes, vocabulary) with the root, the last token of `prompt`: what `verify_sampling` takes."""
        cache = DynamicCache()
        with torch.inference_mode():
            self._model(input_ids=torch.tensor([list(prompt[:-1])]), past_key_values=cache, use_cache=True)
            logits = self._forward(tree, prompt[-1], len(prompt) - 1, cache)
        return torch.softmax(logits.double() / (self._temperature or 1.0), dim=-1).numpy()

    def _forward(self, tree: TokenTree, root: int, committed: int, cache: DynamicCache) -> torch.Tensor:
        """Logits of root and tree in one pass; their keys and values are appended to the cache."""
        dtype = self._model.dtype
        own = torch.from_numpy(attention_mask(tree))
        seen = torch.cat([torch.ones(len(own), committed, dtype=torch.bool), own], dim=1)
        mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
        return self._model(
            input_ids=torch.tensor([[root, *tree.tokens[1:]]]),
            attention_mask=mask[None, None],
            position_ids=committed + torch.tensor([tree.depths]),
            past_key_values=cache,
            use_cache=True,
        ).logits[0]

    def _keep(self, cache: DynamicCache, committed: int, nodes: Sequence[int]) -> None:
        """Leaves the committed rows and those of the accepted path, which follow on them in order."""
        rows = torch.cat([torch.arange(committed), committed + torch.tensor(nodes)])
        for layer in cache.layers:
            layer.keys, layer.values = layer.keys[:, :, rows], layer.values[:, :, rows]

    def _verify(self, tree: TokenTree, logits: torch.Tensor) -> tuple[list[int], int]:
        if self._temperature == 0:
            return verify_greedy(tree, logits.argmax(dim=-1).numpy())
        target = torch.softmax(logits.double() / self._temperature, dim=-1).numpy()
        return verify_sampling(tree, target, self._rng)
