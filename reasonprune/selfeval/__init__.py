"""Self-evaluation: how good a trace is, and whether a fresh one would do better, by the served model itself."""

from reasonprune.selfeval.score import Evaluation, SelfEvaluator, SelfScore

__all__ = ["Evaluation", "SelfEvaluator", "SelfScore"]
