"""What judging has cost one request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class JudgeBooks:
    """What judging has cost a race; `generated` and `prompted` are the judge's own tokens."""

    rounds: int = 0
    pairs: int = 0
    generated: int = 0
    prompted: int = 0
    ms: float = 0.0
    failure: str | None = None
