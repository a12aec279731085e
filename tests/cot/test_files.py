from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasonprune.cot.files import CompressConfig, compress_file
from reasonprune.errors import PoolError, RequestError, ScoreError

CHAIN = "Add two.\n\nHm well.\n\nSo it is 5."
TOKENS = ["Add", " two", ".\n\n", "Hm", " well", ".\n\n", "So", " it", " is", " 5", "."]
LOGPROBS = [-3.0, -0.1, -0.1, -0.2, -0.1, -0.1, -1.0, -0.1, -0.1, -0.1, -0.1]
CONFIG = CompressConfig(0.8)


def row(**more: Any) -> dict[str, Any]:
    return {"question": "3+2?", "reasoning": CHAIN, "answer": "5", "tokens": TOKENS, "logprobs": LOGPROBS, **more}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def run(file: Path, out: Path, config: CompressConfig = CONFIG, workers: int = 2) -> Any:
    return compress_file(file, out, config, None, None, workers, lambda done, total: None)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_chains_with_recorded_tokens_need_no_model(tmp_path: Path) -> None:
    totals = run(write(tmp_path / "in", row(), row(id=7), {"other": 1}), tmp_path / "out")
    first, second, third = rows(tmp_path / "out")
    assert first["reasoning"] == "Add two.\n\nSo it is 5."
    assert second["id"] == 7
    (report,) = first["reasonprune"]["chains"]
    assert report["removed"] == [{"step": 1, "text": "Hm well.", "tokens": 3, "score": 0.2, "on_route": False}]
    assert third == {"other": 1, "reasonprune": third["reasonprune"]}
    assert third["reasonprune"]["not_applied"] == "no chain of thought was found in this row"
    assert (totals.rows, totals.chains, totals.before, totals.after) == (3, 2, 22, 16)


def test_a_run_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    file, out = write(tmp_path / "in", *(row(id=i) for i in range(5))), tmp_path / "out"
    run(file, out)
    whole = out.read_text()
    lines = whole.splitlines(keepends=True)
    out.write_text(lines[0] + lines[1][:40])
    assert run(file, out).resumed == 1
    assert out.read_text() == whole
    assert run(file, out).rows == 0


def test_other_settings_or_rows_do_not_go_into_the_same_file(tmp_path: Path) -> None:
    file, out = write(tmp_path / "in", row()), tmp_path / "out"
    run(file, out)
    with pytest.raises(PoolError, match="choose another --out"):
        run(file, out, CompressConfig(0.5))
    with pytest.raises(PoolError, match="choose another --out"):
        run(write(tmp_path / "in2", row(id=1)), out)


def test_a_bad_line_is_named_and_what_came_before_it_is_kept(tmp_path: Path) -> None:
    file = write(tmp_path / "in", row(), row(), "{not json", row())
    with pytest.raises(PoolError, match="Line 3 is not JSON"):
        run(file, tmp_path / "out", workers=8)
    assert len(rows(tmp_path / "out")) == 2


def test_without_log_probabilities_the_remedy_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "in", {"question": "q", "reasoning": CHAIN})
    with pytest.raises(ScoreError, match=r"line 1: .*--model.*--upstream"):
        run(file, tmp_path / "out")


def test_token_ids_need_their_tokenizer(tmp_path: Path) -> None:
    file = write(tmp_path / "in", {"question": "q", "reasoning": CHAIN, "token_ids": [1], "logprobs": [-1.0]})
    with pytest.raises(ScoreError, match=r"line 1: .*token ids"):
        run(file, tmp_path / "out")


def test_log_probabilities_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    told = {"token_ids": [1], "logprobs": [-1.0], "tokenizer": "0123456789abcdef"}
    file = write(tmp_path / "in", {"question": "q", "reasoning": CHAIN, **told})
    with pytest.raises(ScoreError, match="recorded by the tokenizer 0123456789abcdef"):
        compress_file(file, tmp_path / "out", CONFIG, "tiny", None, 1, lambda done, total: None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 0}, "budget is 0"),
        ({"budget": 0.5, "method": "magic"}, "--method magic"),
        ({"budget": 0.5, "anchor": "magic"}, "--anchor magic"),
        ({"budget": 0.5, "anchor": "llm", "method": "random"}, "no effect"),
        ({"budget": 0.5, "iterative": True, "method": "last_k"}, "no effect"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        CompressConfig(**settings)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "in").write_text(content)
    with pytest.raises(PoolError, match="holds no rows"):
        run(tmp_path / "in", tmp_path / "out")
    with pytest.raises(PoolError, match="cannot be read"):
        run(tmp_path / "missing", tmp_path / "out")
