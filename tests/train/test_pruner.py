from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from reasonprune.errors import DataError
from reasonprune.pruner import ContextPruner
from reasonprune.train.evidence import Evidence
from reasonprune.train.pruner import OUTSIDE, Read, Sampler, TrainConfig, learning_rate_at, sentence_of_tokens, train

SMALL = TrainConfig(join=1, width=32, depth=1, epochs=2, batch=4, shown_sentences=2)


def write(path: Path) -> Path:
    rows = [
        {"question": f"What is number {i}?", "sentences": [f"Number {i} is red. ", "Grass grows. ", "Birds fly."],
         "labels": [1, 0, 0], "group": f"g{i % 2}"}
        for i in range(8)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_training_saves_a_pruner_that_loads_and_can_be_trained_further(tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl")
    record = train([data], tmp_path / "one", SMALL)
    assert record["phases"][0]["questions"] == {"data.jsonl": 8}
    assert record == json.loads((tmp_path / "one" / "training.json").read_text())
    pruner = ContextPruner.from_pretrained(tmp_path / "one")
    assert pruner.process("What?", "Birds fly.", threshold=0.0)["pruned_context"] == "Birds fly."
    assert (tmp_path / "one" / "pruner.safetensors").stat().st_size < 8_000_000
    further = train([data], tmp_path / "two", SMALL, begin_with=tmp_path / "one")
    assert len(further["phases"]) == 2
    with pytest.raises(DataError, match="cannot be trained further"):
        train([data], tmp_path / "three", TrainConfig(join=1, width=64, depth=1), begin_with=tmp_path / "one")


def test_a_share_of_the_articles_is_set_aside(tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl")
    config = TrainConfig(join=1, width=32, depth=1, epochs=1, held_out_share=0.5)
    assert train([data], tmp_path / "out", config)["phases"][0]["held_out"] in (["g0"], ["g1"])
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(DataError, match="no questions"):
        train([tmp_path / "none.jsonl"], tmp_path / "out", config)


def test_tokens_belong_to_the_sentence_of_their_middle() -> None:
    assert sentence_of_tokens(["ab ", "cd"], [(0, 0), (0, 2), (3, 5), (0, 0)]) == [OUTSIDE, 0, 1, OUTSIDE]


def read(sentences: int) -> Read:
    owners = torch.tensor([OUTSIDE, *range(sentences), OUTSIDE])
    return Read(torch.arange(len(owners), dtype=torch.float)[:, None], owners)


def test_what_is_shown_holds_the_answer_and_other_contexts_do_not() -> None:
    examples = [
        Evidence(f"q{i}", tuple(f"s{i}{k} " for k in range(5)), tuple(k == 3 for k in range(5)), "g") for i in range(4)
    ]
    reads = {example.sentences: read(5) for example in examples} | {(e.question,): read(1) for e in examples}
    config = TrainConfig(shown_sentences=3, absent_share=1.0)
    shown = list(Sampler(examples, reads, config).epoch())
    assert len(shown) == 4
    for own, other in shown:
        assert sum(own.labels) == 1
        assert not any(other.labels)
        assert len(own.labels) == 3
        assert sorted(set(own.context.sentences.tolist())) == [OUTSIDE, 0, 1, 2]
        answer = own.labels.index(True)
        [state] = own.context.states[own.context.sentences == answer].tolist()
        assert state == [4.0]  # the token of sentence 3, whatever its place now


def test_the_learning_rate_rises_and_falls() -> None:
    config = TrainConfig(learning_rate=1.0, warmup_share=0.1)
    assert learning_rate_at(0.05, config) == pytest.approx(0.5)
    assert learning_rate_at(0.1, config) == pytest.approx(1.0)
    assert learning_rate_at(1.0, config) == 0.0
