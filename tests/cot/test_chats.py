from __future__ import annotations

import copy
from typing import Any

import pytest

from reasonprune.cot.chats import Recorded, chains_in, plain_text

THOUGHT = "Add it.\n\nSo 3."
MARKED = f"<think>\n{THOUGHT}\n</think>\n\nIt is 3."
SHAPES: dict[str, dict[str, Any]] = {
    "reasoning field": {
        "messages": [
            {"role": "user", "content": "1+2?"},
            {"role": "assistant", "reasoning": THOUGHT, "content": "It is 3."},
        ]
    },
    "reasoning_content field": {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "1+2?"}]},
            {"role": "assistant", "reasoning_content": THOUGHT, "content": "It is 3."},
        ]
    },
    "think tags": {"messages": [{"role": "user", "content": "1+2?"}, {"role": "assistant", "content": MARKED}]},
    "conversations": {"conversations": [{"from": "human", "value": "1+2?"}, {"from": "gpt", "value": MARKED}]},
    "question and reasoning": {"question": "1+2?", "reasoning": THOUGHT, "answer": "It is 3."},
    "prompt and completion": {"prompt": "1+2?", "completion": MARKED},
    "problem and solution": {"problem": "1+2?", "solution": MARKED, "level": 3},
    "a recorded pool": {"question": "1+2?", "gold": "3", "traces": [{"text": MARKED}]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_chains_are_found_and_put_back_in_every_shape(shape: str) -> None:
    row = copy.deepcopy(SHAPES[shape])
    (found,) = chains_in(row, marked_only=True)
    assert found.chain.text == THOUGHT
    assert found.chain.question == "1+2?"
    assert found.chain.anchor == "It is 3."
    assert found.messages[-1] == {"role": "user", "content": "1+2?"}
    found.put("So 3.")
    assert str(row) == str(SHAPES[shape]).replace("Add it.\\n\\n", "")


def test_a_text_without_marks_is_a_chain_as_a_whole_unless_only_marked_ones_are_wanted() -> None:
    row = {"question": "1+2?", "response": "First.\n\nIt is 3."}
    (found,) = chains_in(row)
    assert (found.chain.text, found.chain.anchor, found.opening) == ("First.\n\nIt is 3.", "It is 3.", "")
    assert chains_in(row, marked_only=True) == []


def test_every_assistant_turn_is_found_with_what_was_said_before_it() -> None:
    turn = [{"role": "user", "content": "1+2?"}, {"role": "assistant", "content": MARKED}]
    found = chains_in({"messages": copy.deepcopy(turn * 2)})
    assert [len(chain.messages) for chain in found] == [1, 3]


@pytest.mark.parametrize(
    "row", [{}, {"messages": ["x", {"role": "user", "content": "<think>a</think>"}]}, {"text": 3}, {"reasoning": " "}]
)
def test_rows_without_a_chain(row: dict[str, Any]) -> None:
    assert chains_in(row) == []


def test_recorded_log_probabilities_are_taken_along() -> None:
    content = [{"token": "Add", "logprob": -1.0}, {"token": " it", "logprob": -2.0}]
    (found,) = chains_in({"question": "q", "reasoning": "Add it", "logprobs": {"content": content}})
    assert found.recorded == Recorded([-1.0, -2.0], tokens=["Add", " it"])
    trace = {"text": "Add", "token_ids": [7], "logprobs": [-1.0]}
    (found,) = chains_in({"question": "q", "tokenizer": "abc", "traces": [trace]})
    assert found.recorded == Recorded([-1.0], token_ids=[7], tokenizer="abc")


def test_the_text_of_a_message() -> None:
    assert plain_text([{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]) == "ab"
    assert plain_text(None) == ""
