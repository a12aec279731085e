"""CoLa's Monte Carlo tree search over layer programs (arXiv 2507.07996), as pure decisions: what to try next, and why.

A node is a program, the root the model as it is. An action skips k neighbouring layers or repeats a block of k layers r
times, k and r from 1 to 4. A child is chosen by UCB(P) = Q(P)/v(P) + c sqrt(ln V / v(P)) - lambda |P|/N, and with
probability 0.1 at random among those not tried yet. The paper does not state c; 1.8 is that of its successor Dr.LLM
(arXiv 2510.12773).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import log, sqrt

from reasonprune.depth.program import LayerProgram

Layers = tuple[int, ...]


@dataclass(frozen=True)
class SearchConfig:
    """The paper's values. `longest`: most layers of a program; `shortest`: least, since shorter ones say nothing.

    `repeats`: whether layers may run more than once; those of a draft may not.
    """

    longest: int
    shortest: int = 1
    block: int = 4
    exploration: float = 1.8
    length_penalty: float = 5.0
    random_child: float = 0.1
    repeats: bool = True


@dataclass
class Node:
    """A program in the tree: how often it or what grew from it was tried, and the sum of the rewards."""

    layers: Layers
    parent: Node | None = None
    visits: int = 0
    reward: float = 0.0
    children: list[Node] = field(default_factory=list)
    untried: list[Layers] | None = None


def neighbours(layers: Layers, config: SearchConfig) -> Iterator[Layers]:
    """What one action makes of a program, each result once, in a fixed order."""
    seen = {layers}
    for at in range(len(layers)):
        for k in range(1, min(config.block, len(layers) - at) + 1):
            skipped = layers[:at] + layers[at + k :]
            times = range(1, config.block + 1) if config.repeats else ()
            repeated = (layers[: at + k] + layers[at : at + k] * r + layers[at + k :] for r in times)
            for changed in (skipped, *repeated):
                if config.shortest <= len(changed) <= config.longest and changed not in seen:
                    seen.add(changed)
                    yield changed


class TreeSearch:
    """One search: `propose` a program, `report` its reward (0 to 1), and so on. The first proposal is full depth."""

    def __init__(self, layers: int, config: SearchConfig, rng: random.Random) -> None:
        self._layers = layers
        self._config = config
        self._rng = rng
        self._root = Node(tuple(range(layers)))
        self._leaf = self._root
        self.tried: dict[LayerProgram, float] = {}

    def propose(self) -> LayerProgram:
        """Selection and expansion; the same program may be proposed again where the tree leads to it twice."""
        node = self._root
        while node.visits:
            if node.untried is None:
                node.untried = list(neighbours(node.layers, self._config))
                self._rng.shuffle(node.untried)
            best = max(node.children, key=self._bound, default=None)
            if node.untried and (best is None or self._rng.random() < self._config.random_child or self._widen(node)):
                child = Node(node.untried.pop(), node)
                node.children.append(child)
                node = child
            elif best is not None:
                node = best
            else:
                break
        self._leaf = node
        return LayerProgram(node.layers)

    def _widen(self, node: Node) -> bool:
        """Whether what was not tried promises more than any child: it is taken to do as well as the node itself.

        Without this a node's first child would be grown from, over and over, whatever came of it.
        """
        assert node.untried, "there is something to try"
        hoped = self._ucb(node.reward / node.visits, 1, len(node.untried[-1]))
        return all(hoped >= self._bound(child) for child in node.children)

    def _bound(self, node: Node) -> float:
        return self._ucb(node.reward / node.visits, node.visits, len(node.layers))

    def _ucb(self, mean: float, visits: int, layers: int) -> float:
        wide = self._config.exploration * sqrt(log(max(1, self._root.visits)) / visits)
        return mean + wide - self._config.length_penalty * layers / self._layers

    def report(self, program: LayerProgram, reward: float) -> None:
        """The reward of what was proposed last, handed up to the root."""
        self.tried[program] = reward
        node: Node | None = self._leaf
        while node is not None:
            node.visits += 1
            node.reward += reward
            node = node.parent


def front(points: dict[LayerProgram, float]) -> list[tuple[LayerProgram, float]]:
    """Programs that no other beats in both length and accuracy, from the shortest to the longest."""
    best: list[tuple[LayerProgram, float]] = []
    for program, accuracy in sorted(points.items(), key=lambda item: (item[0].cost, -item[1], item[0].layers)):
        if not best or accuracy > best[-1][1]:
            best.append((program, accuracy))
    return best
