"""Paths over a knowledge graph, pruned to the few that answer a question (Paths-over-Graph, arXiv 2410.14211)."""
