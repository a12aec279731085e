import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from reasonprune.errors import ModelError, PoolError
from reasonprune.judges.build import build_judge
from reasonprune.judges.judge import Judgement, Pair
from reasonprune.judges.snapshot import Snapshot
from reasonprune.judges.truncated import TruncatedJudge
from reasonprune.policy_options import DeepPruneOptions


@dataclass
class Length:
    """A judge that tells how long the first trace was that it was shown."""

    name: str = "probe"

    async def judge(self, pairs: Sequence[Pair]) -> Judgement:
        return Judgement([float(first.tokens) for first, _ in pairs])


PROBE, LLM = Length("probe"), Length("llm")


@pytest.mark.parametrize(("name", "judge"), [("probe", PROBE), ("llm", LLM)])
def test_judges_that_need_the_race_are_the_callers(name, judge):
    assert build_judge(DeepPruneOptions(judge=name), PROBE, LLM) is judge


def test_trained_judges_are_made_here(tmp_path):
    pytest.importorskip("sklearn")
    from reasonprune.judges.cosine import CosineJudge
    from reasonprune.judges.encoder import EncoderJudge

    encoder = build_judge(DeepPruneOptions(judge="encoder", judge_model=str(tmp_path)), PROBE)
    assert isinstance(encoder, EncoderJudge)
    with pytest.raises(ModelError, match=re.escape(str(tmp_path))):
        encoder.load()
    assert isinstance(build_judge(DeepPruneOptions(judge="cosine"), PROBE), CosineJudge)
    nowhere = build_judge(DeepPruneOptions(judge="cosine", judge_model=str(tmp_path / "none")), PROBE)
    with pytest.raises(ModelError, match="none"):
        nowhere.load()


@pytest.mark.parametrize("when", ["finish", "prefix"])
def test_without_a_live_engine_no_language_model_judges(when):
    with pytest.raises(PoolError, match="llm needs a live engine"):
        build_judge(DeepPruneOptions(judge="llm", when=when), PROBE)


@pytest.mark.parametrize("name", ["probe", "llm"])
@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, 20),  # the policy that judges at every ending shows all there is
        ({"when": "prefix", "prefix": 5}, 5),
        ({"when": "prefix", "prefix": 500}, 20),
        ({"when": "prefix", "prefix": 5, "words": 2}, 12),
    ],
)
async def test_at_a_prefix_the_judge_sees_no_more_than_that(name, settings, shown):
    judge = build_judge(DeepPruneOptions(judge=name, **settings), PROBE, LLM)
    assert isinstance(judge, TruncatedJudge) == bool(settings)
    trace = Snapshot(0, 20, "x so y 78 z but 67 z")
    assert (await judge.judge([(trace, trace)])).similarities == [shown]
