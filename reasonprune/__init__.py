"""Fewer tokens for the same answer: inference-time efficiency inside a vLLM engine."""

__version__ = "0.1.0"
