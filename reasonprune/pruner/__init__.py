"""Provence: removes the sentences of a context that do not help to answer the question."""
