"""Provence (arXiv 2501.16214): removes the sentences of a context that do not help to answer the question."""

from reasonprune.pruner.process import ContextPruner

__all__ = ["ContextPruner"]
