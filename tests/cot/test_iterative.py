from __future__ import annotations

import pytest

from reasonprune.cot.compressor import Chain
from reasonprune.cot.iterative import compress_iteratively
from reasonprune.cot.scores import TokenScores
from reasonprune.cot.steps import split_steps

TEXT = "One.\n\nTwo.\n\nThree.\n\nFour."


async def test_scores_are_taken_anew_after_every_removal() -> None:
    seen: list[str] = []

    async def score(text: str) -> TokenScores:
        seen.append(text)
        steps = split_steps(text)
        # Once `Two.` is gone, `Three.` surprises less than `One.`; before that it surprises most.
        surprise = {"One.": 2.0, "Two.": 1.0, "Three.": 9.0 if "Two." in text else 0.5, "Four.": 5.0}
        values = [surprise[text[step.start : step.end].strip()] for step in steps]
        return TokenScores(tuple(step.start for step in steps), tuple(-value for value in values), "engine")

    result = await compress_iteratively(Chain(TEXT), score, 0.5, "first_token_only")
    assert result.text == "One.\n\nFour."
    assert seen == [TEXT, "One.\n\nThree.\n\nFour."]
    assert [report.score for report in result.steps if not report.kept] == [1.0, 0.5]


@pytest.mark.parametrize("budget", [1.0, 3])
async def test_known_scores_are_not_asked_for(budget: float) -> None:
    async def score(text: str) -> TokenScores:
        raise AssertionError("nothing needs another pass")

    first = TokenScores(tuple(step.start for step in split_steps(TEXT)), (-1.0, -0.5, -2.0, -3.0), "recorded")
    result = await compress_iteratively(Chain(TEXT), score, budget, "first_token_only", first=first)
    assert result.met
