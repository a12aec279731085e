"""Trees of draft tokens: what may follow the committed text, each node with its estimated chance of acceptance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

ROOT = 0


class Source(IntEnum):
    """Where a draft token comes from."""

    DRAFT = 0  # the drafter that vLLM was given: a draft model, EAGLE, n-grams
    REQUEST = 1  # prompt and output of the request itself
    RECENT = 2  # finished responses of this process
    STORE = 3  # the datastore
    AGREED = 4  # the drafter and retrieval, both

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass
class TokenTree:
    """A trie of draft tokens below the last committed token, which is node 0 and no draft.

    Parents come before their children, and no two children of a node hold the same token, so every subset of nodes
    that is closed under parents is a tree again. `chances[i]`: estimated probability that node i is accepted once its
    parent was; `reaches[i]`: that it is accepted at all; `shares[i]`: share of the occurrences of its context that went
    on with it; `matched[i]`: tokens of context that agreed where it was retrieved, for a model's drafts their depth.
    """

    tokens: list[int] = field(default_factory=lambda: [-1])
    parents: list[int] = field(default_factory=lambda: [-1])
    depths: list[int] = field(default_factory=lambda: [0])
    chances: list[float] = field(default_factory=lambda: [1.0])
    reaches: list[float] = field(default_factory=lambda: [1.0])
    sources: list[Source] = field(default_factory=lambda: [Source.DRAFT])
    matched: list[int] = field(default_factory=lambda: [0])
    shares: list[float] = field(default_factory=lambda: [1.0])
    seen: list[int] = field(default_factory=lambda: [1])
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Draft tokens; the root does not count."""
        return len(self.tokens) - 1

    def nodes(self) -> Iterator[int]:
        """All draft nodes, parents first."""
        return iter(range(1, len(self.tokens)))

    def child(self, parent: int, token: int) -> int | None:
        return self._children.get((parent, token))

    def children(self, parent: int) -> list[int]:
        return [node for node in range(parent + 1, len(self.tokens)) if self.parents[node] == parent]

    def add(
        self,
        parent: int,
        token: int,
        chance: float,
        source: Source,
        matched: int = 0,
        share: float = 1.0,
        seen: int = 1,
    ) -> int:
        """The child of `parent` that holds `token`: a new one, or the one that is there, unchanged."""
        node = self._children.get((parent, token))
        if node is None:
            node = len(self.tokens)
            self._children[parent, token] = node
            self.tokens.append(token)
            self.parents.append(parent)
            self.depths.append(self.depths[parent] + 1)
            self.chances.append(chance)
            self.reaches.append(self.reaches[parent] * chance)
            self.sources.append(source)
            self.matched.append(matched)
            self.shares.append(share)
            self.seen.append(seen)
        return node

    def path(self, node: int) -> list[int]:
        """The nodes from the root's child down to `node`; empty for the root."""
        nodes = []
        while node != ROOT:
            nodes.append(node)
            node = self.parents[node]
        return nodes[::-1]

    def spelled(self, node: int) -> tuple[int, ...]:
        """The tokens on the path to `node`."""
        return tuple(self.tokens[step] for step in self.path(node))

    def paths(self) -> set[tuple[int, ...]]:
        """Every prefix that the tree holds."""
        return {self.spelled(node) for node in self.nodes()}

    def leaves(self) -> list[int]:
        inner = set(self.parents)
        return [node for node in self.nodes() if node not in inner]
