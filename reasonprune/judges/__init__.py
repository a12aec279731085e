"""Judges say how likely two unfinished traces will end in the same answer."""

from reasonprune.judges.judge import Judgement, PairJudge
from reasonprune.judges.snapshot import Snapshot, first_tokens, first_words

__all__ = ["Judgement", "PairJudge", "Snapshot", "first_tokens", "first_words"]
