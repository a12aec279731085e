from __future__ import annotations

import math
from pathlib import Path

import pytest

from reasonprune.bench.drawn import Cost, Drawn, Draws
from reasonprune.bench.self_eval import RULES, SelfEvalBenchConfig, _report, kind_of
from reasonprune.engine.upstream import Server
from reasonprune.errors import RequestError
from reasonprune.selfeval import SelfScore


def drawn(answer: str | None, score: float, half: float = 0.5) -> Drawn:
    scores = {0.25: SelfScore(half), 0.5: SelfScore(half), 0.75: SelfScore(half), 1.0: SelfScore(score)}
    return Drawn(tuple(range(10)), "", answer, answer == "right", scores)


def config(**more: object) -> SelfEvalBenchConfig:
    model, kind = more.pop("model", "tiny"), more.pop("kind", "verbal")
    return SelfEvalBenchConfig(model, kind, Draws(3, 0.7, 1.0, 100), **more)  # type: ignore[arg-type]


def ruled(*traces: Drawn) -> dict[str, bool]:
    return {name: rule(traces) for name, rule in RULES.items()}


def test_the_rules_part_where_scores_and_counts_do() -> None:
    assert ruled(drawn("right", 0.9), drawn("wrong", 0.5), drawn("wrong", 0.3)) == {
        "majority": False,
        "selection": True,
        "weighted_majority": True,
    }


def test_where_nobody_answers_nobody_is_right() -> None:
    assert ruled(drawn(None, 0.9)) == {"majority": False, "selection": False, "weighted_majority": False}


def test_a_score_that_is_no_number_weighs_one_half() -> None:
    broken = drawn("right", math.nan)
    assert ruled(broken, broken, drawn("wrong", 0.9))["weighted_majority"]
    assert not ruled(broken, drawn("wrong", 0.1))["selection"]
    assert ruled(broken)["selection"]


def test_the_report_has_the_keys_that_are_promised() -> None:
    traces = [[drawn("right", 0.9, 0.4), drawn("wrong", 0.2, 0.6), drawn("right", 0.8, 0.7)]]
    found = _report(config(), traces, Cost(checks=12, ms=60.0, generated=12, prompted=120))
    assert (found["auroc_pooled"], found["auroc_within"]) == (1.0, 1.0)
    assert (found["auroc_pooled_half"], found["auroc_within_half"]) == (0.5, 0.5)
    assert found["accuracy"] == {
        "one_sample": pytest.approx(2 / 3, abs=1e-4),
        "majority": 1.0,
        "selection": 1.0,
        "weighted_majority": 1.0,
    }
    assert found["check_ms"] == 5.0
    assert found["check_tokens"] == {"generated": 1.0, "read_beyond_the_cache": 10.0}


def test_wrong_options_are_named() -> None:
    assert kind_of("head") == "head"
    with pytest.raises(RequestError, match="expected one of verbal, adapter, head"):
        kind_of("oracle")
    with pytest.raises(RequestError, match="the kind is verbal"):
        config(folder=Path("x")).check()
    with pytest.raises(RequestError, match="--upstream does not give; use verbal"):
        config(model=Server("http://127.0.0.1:1"), kind="head").check()
