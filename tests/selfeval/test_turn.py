from __future__ import annotations

from typing import Any

import pytest

transformers = pytest.importorskip("transformers", reason="needs transformers; run `make setup`")

from reasonprune.errors import ModelError
from reasonprune.models import resolve
from reasonprune.selfeval.turn import QUESTION, EvaluationTurn


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(resolve("tiny").path)


def test_it_closes_the_answer_and_asks_as_a_user(tokenizer: Any) -> None:
    turn = EvaluationTurn.of(tokenizer)
    asked = tokenizer.decode(turn.prompt([5], tokenizer.encode("42"), "42").ids)
    assert asked.endswith(f"42<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode([turn.restart]) == "Y"
    assert tokenizer.decode([turn.go_on]) == "N"


def test_a_trace_that_ended_is_not_ended_twice(tokenizer: Any) -> None:
    turn = EvaluationTurn.of(tokenizer)
    whole = tokenizer.encode("42")
    assert turn.prompt([5], [*whole, tokenizer.eos_token_id], "42") == turn.prompt([5], whole, "42")


def test_an_open_thought_is_closed_first(tokenizer: Any) -> None:
    turn = EvaluationTurn.of(tokenizer)
    ids = tokenizer.encode("<think>\n1+1")
    asked = tokenizer.decode(turn.prompt([5], ids, "<think>\n1+1").ids)
    assert "1+1\n</think>\n<|im_end|>" in asked
    closed = "<think>\n1+1\n</think>\n2"
    again = tokenizer.decode(turn.prompt([5], tokenizer.encode(closed), closed).ids)
    assert asked.count("</think>") == again.count("</think>")


def test_the_turn_begins_where_the_trace_ends(tokenizer: Any) -> None:
    turn = EvaluationTurn.of(tokenizer)
    ids = tokenizer.encode("<think>\n1+1")
    for trace, text in ((ids, "<think>\n1+1"), ([*ids, tokenizer.eos_token_id], "<think>\n1+1")):
        asked = turn.prompt([5], trace, text)
        assert asked.ids[: asked.begin] == [5, *ids]


class Deaf:
    """A tokenizer to which all replies look the same."""

    eos_token_id, unk_token_id, chat_template = 1, 0, None

    def __init__(self, ids: list[int]) -> None:
        self._ids = ids

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return self._ids


@pytest.mark.parametrize("ids", [[], [0], [7]])
def test_a_tokenizer_without_the_predefined_tokens_is_refused(ids: list[int]) -> None:
    with pytest.raises(ModelError, match=r"no predefined token for the replies 'Yes' and 'No'.*self_eval = head"):
        EvaluationTurn.of(Deaf(ids))


def test_without_a_chat_template_it_asks_in_plain_text(tokenizer: Any) -> None:
    class Plain:
        eos_token_id, unk_token_id, chat_template = 2, None, None
        encode = staticmethod(tokenizer.encode)

    turn = EvaluationTurn.of(Plain())
    assert tokenizer.decode(turn.suffix) == f"\n\n{QUESTION}\nReply: "
