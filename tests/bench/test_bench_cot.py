from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from reasonprune.answers import MathChecker
from reasonprune.bench.cot import parse_budgets, parse_methods
from reasonprune.bench.cot_examples import example_of, states, withheld
from reasonprune.bench.record import recorded_rows
from reasonprune.cot.scores import fingerprint
from reasonprune.errors import PoolError, RequestError, ScoreError
from reasonprune.models import resolve

TEXT = "Let us add.\n\n37+53=90.\n\n90*7=630.\n\nSo it is 630.\n\nThe answer is \\boxed{630}."


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(resolve("tiny").path)


def row(tokenizer: Any, *texts: str, name: str | None = None, ended: str = "stop") -> dict[str, Any]:
    traces = []
    for text in texts:
        ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        traces.append({"text": text, "token_ids": ids, "logprobs": [-1.0] * len(ids), "finish_reason": ended})
    return {
        "question": "Start with 37, add 53, multiply by 7.",
        "gold": "630",
        "prompt_token_ids": [1, 2],
        "tokenizer": name or fingerprint(tokenizer),
        "traces": traces,
    }


def example(tokenizer: Any, *texts: str, **more: Any) -> Any:
    return example_of(row(tokenizer, *texts, **more), tokenizer, fingerprint(tokenizer), MathChecker())


def test_the_first_right_trace_is_taken(tokenizer: Any) -> None:
    found = example(tokenizer, TEXT.replace("630", "640"), TEXT)
    assert (found.answer, found.gold) == ("630", "630")
    assert found.chain.text == TEXT
    assert len(found.scores.starts) == len(tokenizer.encode(TEXT, add_special_tokens=False))
    assert example(tokenizer, TEXT.replace("630", "640")).answer == "640"


def test_the_thought_alone_is_the_chain(tokenizer: Any) -> None:
    found = example(tokenizer, "<think>\n37+53=90.\n\n90*7=630.\n</think>\n\nThe answer is \\boxed{630}.")
    assert found.chain.text == "37+53=90.\n\n90*7=630."
    assert found.opening == "<think>\n"
    assert found.scores.starts[0] == 0


def test_questions_without_an_answer_are_left_out(tokenizer: Any) -> None:
    assert example(tokenizer, TEXT, ended="length") is None
    assert example(tokenizer, "<think>\nHm") is None


def test_chains_are_cut_before_the_answer_is_stated(tokenizer: Any) -> None:
    cut = withheld(example(tokenizer, TEXT))
    assert cut is not None
    assert cut.chain.text == "Let us add.\n\n37+53=90."
    assert cut.scores.starts[-1] < len(cut.chain.text) + 2
    assert cut.route == {1}
    assert withheld(example(tokenizer, "90*7=630.\n\nThe answer is \\boxed{630}.")) is None


@pytest.mark.parametrize(
    ("text", "answer", "stated"),
    [
        ("so 630.", "630", True),
        ("so 6300", "630", False),
        ("$1,000", "1000", True),
        ("it is B", "B", True),
        ("", "3", False),
    ],
)
def test_whether_a_text_states_an_answer(text: str, answer: str, stated: bool) -> None:
    assert states(text, answer) is stated


def test_another_tokenizer_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ScoreError, match="recorded by the tokenizer other"):
        example(tokenizer, TEXT, name="other")


def test_budgets_and_methods_of_the_command_line() -> None:
    assert parse_budgets("0.3,0.5") == (0.3, 0.5)
    assert parse_methods("none, asap") == ("asap", "none")
    for wrong in ("0.3;0.5", "1.5", "0", ""):
        with pytest.raises(RequestError, match="--budget"):
            parse_budgets(wrong)
    with pytest.raises(RequestError, match="'magic' is not a method"):
        parse_methods("asap,magic")


@pytest.mark.parametrize("content", ["{}\n", "no json\n", '{"traces": [{"text": "x"}]}\n'])
def test_a_pool_that_lacks_something_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "pool").write_text(content)
    with pytest.raises(PoolError):
        recorded_rows(tmp_path / "pool", None)
