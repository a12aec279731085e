from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasonprune.bench.prompts import Prompt, read_prompts
from reasonprune.bench.speculative import METHODS, methods_of
from reasonprune.errors import PoolError, RequestError


def test_prompts_are_spread_over_tasks(tmp_path: Path) -> None:
    rows = [{"category": "writing", "turns": ["a", "b"]}, {"category": "math", "turns": ["c"]}]
    rows += [{"category": "rag", "turns": ["d"]}, {"question": "e", "answer": "1"}]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second, third = read_prompts(path, 3)
    assert first == Prompt("multi-turn", ("a", "b"))
    assert (second.task, third.task) == ("rag", "all")
    assert read_prompts(path)[-1] == Prompt("multi-turn", ("c",))


@pytest.mark.parametrize("line", ["{", "3", '{"turns": []}', '{"turns": [1]}', '{"category": "qa"}', ""])
def test_unusable_prompts_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(PoolError, match=r"p\.jsonl"):
        read_prompts(path)


def test_spec_bench_has_six_tasks(data_folder: Path) -> None:
    prompts = read_prompts(data_folder / "spec_bench" / "question.jsonl", 12)
    assert {prompt.task for prompt in prompts} == {"multi-turn", "translation", "summarisation", "qa", "maths", "rag"}


def test_methods_begin_with_base() -> None:
    assert methods_of("rasd, ngram,rasd", None) == ("base", "rasd", "ngram")
    assert methods_of(",".join(METHODS), "tiny") == tuple(METHODS)


def test_layers_of_the_model_may_draft() -> None:
    assert methods_of("draft", None, "0-3,5") == ("base", "draft")
    with pytest.raises(RequestError, match="choose one"):
        methods_of("draft", "tiny", "0-3,5")
    with pytest.raises(RequestError, match="runs backwards"):
        methods_of("draft", None, "5-3")


@pytest.mark.parametrize(("names", "words"), [("rads", "'rads' is not known"), ("draft", "needs --draft-model")])
def test_wrong_methods_are_named(names: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        methods_of(names, None)
