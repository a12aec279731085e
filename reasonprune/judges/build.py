"""The judge that options ask for."""

from __future__ import annotations

from pathlib import Path

from reasonprune.errors import PoolError
from reasonprune.judges.judge import PairJudge
from reasonprune.judges.truncated import TruncatedJudge
from reasonprune.policy_options import DeepPruneOptions


def build_judge(options: DeepPruneOptions, probe: PairJudge, llm: PairJudge | None = None) -> PairJudge:
    """`probe` and `llm` use the race's own engine or recording, so the caller makes them.

    Raises:
        PoolError: there is no language model to be the judge `llm`, as in replay.
        ImportError: the judge needs a package of the extra `judge`.
    """
    judge = _judge(options, probe, llm)
    return TruncatedJudge(judge, options.prefix, options.words) if options.when == "prefix" else judge


def _judge(options: DeepPruneOptions, probe: PairJudge, llm: PairJudge | None) -> PairJudge:
    if options.judge == "probe":
        return probe
    # Imported where they are asked for: numpy, torch and sentence-transformers take seconds.
    if options.judge == "encoder":
        from reasonprune.judges.encoder import EncoderJudge

        return EncoderJudge(Path(options.judge_model) if options.judge_model else None)
    if options.judge == "cosine":
        from reasonprune.judges.cosine import CosineJudge

        return CosineJudge(options.judge_model or "minilm")
    if llm is None:
        raise PoolError("The judge llm needs a live engine (`reasonprune bench parallel`); replay has none.")
    return llm
