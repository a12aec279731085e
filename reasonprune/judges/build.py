"""The judge that options ask for."""

from __future__ import annotations

from reasonprune.judges.judge import PairJudge
from reasonprune.judges.truncated import TruncatedJudge
from reasonprune.options import DeepPruneOptions


def build_judge(options: DeepPruneOptions, probe: PairJudge, llm: PairJudge | None = None) -> PairJudge:
    """`probe` and `llm` use the race's own engine or recording, so the caller makes them.

    Raises:
        ValueError: there is no language model to be the judge `llm`.
    """
    judge = _judge(options, probe, llm)
    return TruncatedJudge(judge, options.prefix, options.words) if options.when == "prefix" else judge


def _judge(options: DeepPruneOptions, probe: PairJudge, llm: PairJudge | None) -> PairJudge:
    if options.judge == "probe":
        return probe
    if llm is None:
        raise ValueError("the judge `llm` needs a live engine; use probe in replay")
    return llm
