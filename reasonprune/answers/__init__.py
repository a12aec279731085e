"""What a generated text answers, and which answers are the same. Light to import: no sympy, no math-verify."""

from reasonprune.answers.equivalence import AnswerClasses, Checker, canonical, equivalent
from reasonprune.answers.extract import AnswerKind, extract_answer
from reasonprune.answers.worker import MathChecker

__all__ = ["AnswerClasses", "AnswerKind", "Checker", "MathChecker", "canonical", "equivalent", "extract_answer"]
