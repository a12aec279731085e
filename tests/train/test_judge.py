from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from typer.testing import CliRunner

from reasonprune.answers import extract_answer
from reasonprune.cli import app
from reasonprune.errors import PoolError, RequestError
from reasonprune.judges.encoder import EncoderJudge
from reasonprune.judges.head import Head
from reasonprune.train.arithmetic import sample_hesitant_solution, sample_problems
from reasonprune.train.judge import TrainConfig, draw_weights, focal_loss, inputs_of, train
from reasonprune.train.pairs import Cell, Examples, cut_pairs, read_questions, split_of

QUICK = TrainConfig(inputs=("text", "cosine"), pairs=28, epochs=8, steps=40, learning_rate=3e-3, patience=3)


def bag_of_letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """A stand-in encoder: unit vectors of how often each character occurs."""
    counts = np.ones((len(texts), 128), dtype=np.float32)
    for row, text in zip(counts, texts, strict=True):
        np.add.at(row, np.frombuffer(text.encode("ascii", "ignore"), dtype=np.uint8), 1)
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 chains of sums, each worked out eight times with slips now and then."""
    rng = random.Random(4)
    path = tmp_path_factory.mktemp("pools") / "sums.jsonl"
    with path.open("w") as file:
        for problem in sample_problems(11, 120, levels=(3, 4)):
            texts = [sample_hesitant_solution(rng, problem, 0.12) for _ in range(8)]
            traces = [{"text": t, "token_ids": list(range(len(t))), "answer": extract_answer(t)} for t in texts]
            row = {
                "question": problem.question,
                "gold": str(problem.answer),
                "model": "/home/me/slips",
                "traces": traces,
            }
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Head, Path]:
    folder = tmp_path_factory.mktemp("heads") / "one"
    return train([pool], folder, QUICK, bag_of_letters), folder


def test_a_head_learns_what_holds_for_unseen_questions(trained: tuple[Head, Path]) -> None:
    test = trained[0].training["test"]["sums.jsonl"]
    assert list(test) == ["0.25", "0.5", "0.75", "ended", "level"]
    for cut, least in (("0.5", 0.7), ("0.75", 0.8), ("ended", 0.7)):
        assert test[cut]["encoder"]["auroc_within"] > least
        assert test[cut]["encoder"]["auroc_within"] > test[cut]["cosine"]["auroc_within"] + 0.05
        assert test[cut]["oracle"]["auroc_within"] == 0.5
        assert test[cut]["oracle"]["auroc_pooled"] > 0.6


async def test_the_saved_head_judges_as_the_report_says(pool: Path, trained: tuple[Head, Path]) -> None:
    head, folder = trained
    questions = [q for q in read_questions(pool) if split_of(q, QUICK.seed) == "test"]
    assert len(questions) == head.training["questions"]["test"]
    similarities: dict[bool, list[float]] = {True: [], False: []}
    for question in questions:
        pairs = cut_pairs(question, [(0, 1), (2, 3), (4, 5), (6, 7)], 0.75, "share")
        judge = EncoderJudge(folder, bag_of_letters)
        judgement = await judge.judge([(pair.first, pair.second) for pair in pairs])
        for pair, similarity in zip(pairs, judgement.similarities, strict=True):
            similarities[pair.same].append(similarity)
    # Calibrated: on either side of one half.
    assert np.mean(similarities[True]) > 0.55 > 0.4 > np.mean(similarities[False])


def test_training_is_reproducible_and_says_where_it_comes_from(
    pool: Path, trained: tuple[Head, Path], tmp_path: Path
) -> None:
    head, folder = trained
    train([pool], tmp_path, QUICK, bag_of_letters)
    assert (tmp_path / "head.safetensors").read_bytes() == (folder / "head.safetensors").read_bytes()
    training = json.loads((folder / "head.json").read_text())["training"]
    assert training == json.loads(json.dumps(head.training))
    assert [(found["file"], found["model"]) for found in training["pools"]] == [("sums.jsonl", "slips")]
    assert training["chosen"]["inputs"] == head.spec.inputs
    assert set(training["validation_auroc_within"]) == {"text", "cosine"}
    assert str(pool.parent) not in (folder / "head.json").read_text()
    seen = {q.digest for q in read_questions(pool) if split_of(q, QUICK.seed) != "test"}
    assert set(training["seen"]) == seen
    assert sum(training["questions"].values()) == 120 == len(seen) + training["questions"]["test"]


def test_heads_are_tried_from_the_simplest(pool: Path, tmp_path: Path) -> None:
    brief = TrainConfig(inputs=("text", "embeddings"), pairs=3, epochs=1, steps=2, gain=1.0)
    assert train([pool], tmp_path / "easy", brief, bag_of_letters).spec.inputs == "text"
    only = TrainConfig(inputs=("embeddings",), pairs=3, epochs=1, steps=2)
    head = train([pool], tmp_path / "only", only, bag_of_letters)
    assert (head.spec.inputs, head.spec.dimensions, head.spec.encoder) == ("embeddings", 128, "minilm")


def test_questions_that_cannot_be_split(pool: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("".join(pool.read_text().splitlines(keepends=True)[:1]))
    with pytest.raises(PoolError, match=r"The 1 questions of few\.jsonl are too few.*--pool.*another --seed"):
        train([few], tmp_path / "out", QUICK, bag_of_letters)
    assert not (tmp_path / "out").exists()


def test_focal_loss_by_hand() -> None:
    logits, same = torch.tensor([0.0, np.log(3.0)]), torch.tensor([1.0, 0.0])
    # p of the true class: 1/2 of "same", 1/4 of "different".
    expected = (0.25 * 0.5**2 * np.log(2) + 0.75 * 0.75**2 * np.log(4)) / 2
    assert focal_loss(logits, same, gamma=2, alpha=0.75).item() == pytest.approx(expected)
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, same).item()
    assert focal_loss(logits, same, gamma=0, alpha=0.5).item() == pytest.approx(plain / 2)


def test_pools_count_alike_and_the_rarer_class_twice() -> None:
    large, small = Cell("large", "share", 0.5), Cell("small", "share", 0.5)
    examples = Examples(cells=[large] * 6 + [small] * 2, same=[True] * 4 + [False] * 2 + [True, False])
    weights = draw_weights(examples, oversampling=2.0)
    assert weights[:6].sum() == pytest.approx(0.5)
    assert weights[4] == pytest.approx(2 * weights[0])
    assert weights.sum() == pytest.approx(1)


def test_inputs_from_the_command_line() -> None:
    assert inputs_of("cosine, text") == ("text", "cosine")
    with pytest.raises(RequestError, match="--inputs words: expected some of text, cosine, embeddings"):
        inputs_of("text,words")


def test_the_command_refuses_a_pool_without_texts(tmp_path: Path) -> None:
    pool = tmp_path / "pool.json"
    pool.write_text(json.dumps([{"question": "?", "probe_freq": 10, "each_branch": [[["4"], 20, "4"]]}]))
    done = CliRunner().invoke(app, ["train", "judge", "--pool", str(pool), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, PoolError)
    assert "holds no texts" in str(done.exception)
