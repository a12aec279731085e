from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")
torch = pytest.importorskip("torch")

from typer.testing import CliRunner

from reasonprune.bench.judge import JudgeConfig, bench_judge, judge_name
from reasonprune.bench.judging import auroc, auroc_within, difficulty_oracle, figures, tnr_at_fnr
from reasonprune.cli import app
from reasonprune.errors import ModelError, PoolError, RequestError
from reasonprune.judges.features import FEATURES
from reasonprune.judges.head import Head, HeadSpec
from reasonprune.train.pairs import read_questions


def test_auroc_by_hand() -> None:
    # Of the 2 x 3 comparisons of a same with a different pair 4 are won and one is a tie.
    same = [True, False, True, False, False]
    assert auroc([0.9, 0.1, 0.5, 0.5, 0.7], same) == pytest.approx(4.5 / 6)
    assert auroc([0.9, 0.1], [True, True]) is None


def test_auroc_within_compares_pairs_of_one_question_only() -> None:
    # The first question is ranked rightly, the second wrongly, the third has one class; pooled says otherwise.
    scores = [0.9, 0.8, 0.2, 0.3, 0.5]
    same, questions = [True, False, False, True, True], [0, 0, 1, 1, 2]
    assert auroc_within(scores, same, questions) == (1.0, 2)
    assert auroc_within([0.8, 0.9, *scores[2:]], same, questions) == (0.5, 2)
    assert auroc_within([0.1], [True], [0]) == (None, 0)


def test_tnr_at_fnr_by_hand() -> None:
    positives, negatives = [0.9, 0.8, 0.7, 0.6, 0.2], [0.95, 0.65, 0.5, 0.1]
    same = [True] * 5 + [False] * 4
    # One positive of five may be missed: the threshold is 0.6, below which two of four negatives lie.
    assert tnr_at_fnr(positives + negatives, same) == pytest.approx(0.5)
    assert tnr_at_fnr(positives + negatives, same, fnr=0.0) == pytest.approx(0.25)
    assert tnr_at_fnr([0.5, 0.5], [True, False]) == 0
    assert tnr_at_fnr([0.5], [True]) is None


def test_the_oracle_knows_questions_and_nothing_else() -> None:
    same, questions = [True, True, False, False, False, True], [7, 7, 7, 9, 9, 9]
    scores = difficulty_oracle(same, questions)
    assert scores == pytest.approx([2 / 3] * 3 + [1 / 3] * 3)
    assert figures(scores, same, questions) == {
        "auroc_pooled": round(6 / 9, 4),
        "auroc_within": 0.5,
        "tnr_at_fnr_20": 0.0,
        "pairs": 6,
        "same_answer_share": 0.5,
        "questions": 2,
        "questions_with_both": 2,
    }


def trace(steps: str, answer: str, probes: dict[int, str]) -> dict[str, Any]:
    text = f"{steps} So it is \\boxed{{{answer}}}."
    return {"token_ids": [0] * 100, "text": text, "answer": answer, "probes": list(probes.items())}


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Four questions of six traces; those that end in 8 make a slip in their first step, which a probe knows late."""
    rows = []
    for i in range(4):
        right = trace(f"{i}+3={i + 3}. Then more.", "7", {20: "?", 40: "7", 60: "7"})
        wrong = trace(f"{i}+3={i + 4}. Then more.", "8", {20: "?", 40: "7", 60: "8"})
        late = trace("So on and on.", "7", {})
        rows.append({"question": f"What is {i} + 3?", "gold": "7", "traces": [right, right, right, wrong, wrong, late]})
    rows[0]["traces"][5] |= {"finish_reason": "length"}
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def head(pool: Path, tmp_path: Path) -> Path:
    """A head that counts contradictions, whose training saw the first two questions."""
    torch.manual_seed(0)
    made = Head(HeadSpec("text"), {"seen": [question.digest for question in read_questions(pool)[:2]]})
    with torch.no_grad():
        first, last = made.net["layers"][0], made.net["layers"][3]
        first.weight[:], last.weight[:] = 0, 0
        first.weight[0, FEATURES.index("equations_contrary")] = -3
        first.bias[0], last.weight[0, 0] = 3, 3
    made.save(tmp_path / "head")
    return tmp_path / "head"


def test_probes_at_each_share(pool: Path) -> None:
    result = bench_judge(pool, JudgeConfig("probe", shares=(0.25, 0.5, 0.75)))
    # 5 traces with an answer make 10 pairs, 6 make 15; a trace that was cut off is in none.
    assert [found["pairs"] for found in result["prefix"].values()] == [55] * 3
    early, half, late = result["prefix"].values()
    # At 20 tokens all answer the same, at 40 too but for the trace without probes, at 60 they know.
    assert early["same_answer_share"] == round((4 + 3 * 7) / 55, 4)
    assert early["auroc_within"] < late["auroc_within"]
    assert half["auroc_within"] < late["auroc_within"]
    assert late["tnr_at_fnr_20"] == 0  # too many of the same-answer pairs are with the trace that was never probed
    assert {key: result[key] for key in ("judge", "file", "pairs_per_question")} == {
        "judge": "probe",
        "file": "pool.jsonl",
        "pairs_per_question": 40,
    }
    assert result["oracle"]["auroc_within"] == 0.5


def test_a_trained_head(pool: Path, head: Path) -> None:
    result = bench_judge(pool, JudgeConfig("encoder", shares=(0.1, 0.75), head=head))
    blind, seeing = result["prefix"].values()
    assert blind["auroc_within"] == 0.5
    assert seeing["auroc_within"] > 0.8
    assert seeing["ms_per_pair"] > 0
    assert (result["head"], result["prefix"]["0.75"]["questions"]) == ("head", 4)


def test_only_questions_that_the_training_did_not_see(pool: Path, head: Path) -> None:
    seen: list[tuple[int, int]] = []
    config = JudgeConfig("encoder", head=head, unseen_by=head)
    result = bench_judge(pool, config, lambda done, total: seen.append((done, total)))
    assert result["prefix"]["0.5"]["questions"] == 2
    assert seen == [(1, 2), (2, 2)]
    everything = json.loads((head / "head.json").read_text())
    everything["training"]["seen"] = [question.digest for question in read_questions(pool)]
    (head / "head.json").write_text(json.dumps(everything))
    with pytest.raises(PoolError, match="was trained on all questions"):
        bench_judge(pool, config)


def test_all_judges_are_asked_about_the_same_pairs(pool: Path, head: Path) -> None:
    results = [
        bench_judge(pool, JudgeConfig(judge, pairs=6, head=folder, limit=3, seed=5))
        for judge, folder in (("probe", None), ("encoder", head))
    ]
    assert results[0]["oracle"] == results[1]["oracle"]
    assert results[0]["prefix"]["0.5"]["pairs"] == 18
    assert results[0] == bench_judge(pool, JudgeConfig("probe", pairs=6, limit=3, seed=5)) | {
        "prefix": {
            share: found | {"ms_per_pair": pytest.approx(found["ms_per_pair"], abs=100)}
            for share, found in results[0]["prefix"].items()
        }
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (JudgeConfig("llm"), "name it with --model"),
        (JudgeConfig("probe", model="tiny"), "--model is for the judges llm and cosine"),
        (JudgeConfig("cosine", head=Path("x")), "--head is for the judge encoder"),
    ],
)
def test_options_without_effect_are_refused(config: JudgeConfig, message: str, pool: Path) -> None:
    with pytest.raises(RequestError, match=message):
        bench_judge(pool, config)


def test_what_a_judge_lacks_is_named(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--judge oracle: expected one of encoder, llm, probe, cosine"):
        judge_name("oracle")
    with pytest.raises(ModelError, match="holds no usable head"):
        bench_judge(pool, JudgeConfig("encoder", head=tmp_path))
    rows = [json.loads(line) for line in pool.read_text().splitlines()]
    for row in rows:
        for recorded in row["traces"]:
            recorded["probes"] = []
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(PoolError, match=r"pool\.jsonl holds no probes; record it with --probe-every"):
        bench_judge(pool, JudgeConfig("probe"))


def test_the_command_writes_figures_with_their_provenance(pool: Path, head: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    arguments = ["--pool", str(pool), "--head", str(head), "--prefix", "0.5,0.75", "--json", str(out)]
    done = CliRunner().invoke(app, ["bench", "judge", "--judge", "encoder", *arguments])
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert list(result["prefix"]) == ["0.5", "0.75"]
    assert result["provenance"]["data"]["file"] == "pool.jsonl"
    assert str(tmp_path) not in out.read_text()
    refused = CliRunner().invoke(app, ["bench", "judge", "--judge", "encoder", *arguments, "--prefix", "0.5,2"])
    assert isinstance(refused.exception, RequestError)
    assert "expected shares between 0 and 1" in str(refused.exception)
