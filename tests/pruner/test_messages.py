from __future__ import annotations

import copy
import json
from typing import Any

from reasonprune.pruner.messages import find, replaced

LONG = "The tower is 330 metres tall. It was finished in 1889. Many people visit it each year. "
QUESTION = {"role": "user", "content": "How tall is it?"}


def pruned(body: dict[str, Any], *, user_text: bool = True) -> tuple[str | None, list[str], dict[str, Any]]:
    """The question, where passages were found, and the body with each of them replaced by its number."""
    before = copy.deepcopy(body)
    found = find(body, 60, user_text)
    after = replaced(body, found.passages, [f"<{i}>" for i in range(len(found.passages))])
    assert body == before
    return found.question, [passage.where for passage in found.passages], after


def test_tool_results_are_pruned_and_the_question_is_the_users_last() -> None:
    messages = [
        {"role": "system", "content": LONG},
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": LONG},
        QUESTION,
        {"role": "tool", "tool_call_id": "1", "content": LONG},
    ]
    question, where, after = pruned({"messages": messages})
    assert (question, where) == ("How tall is it?", ["messages[4].content"])
    assert after["messages"][4] == {"role": "tool", "tool_call_id": "1", "content": "<0>"}
    assert after["messages"][:4] == messages[:4]


def test_of_json_only_long_texts_change() -> None:
    result = {"id": "doc-17", "score": 0.5, "hits": [{"text": LONG, "url": "http://example.org/" + "x" * 80}]}
    body = {"messages": [QUESTION, {"role": "tool", "content": json.dumps(result)}]}
    _, where, after = pruned(body)
    assert where == ["messages[1].content.hits[0].text"]
    result["hits"][0]["text"] = "<0>"  # type: ignore[index]
    assert json.loads(after["messages"][1]["content"]) == result


def test_documents_field() -> None:
    body = {"messages": [QUESTION], "documents": [{"title": "Tower", "text": LONG}, LONG]}
    _, where, after = pruned(body)
    assert where == ["documents[0].text", "documents[1]"]
    assert after["documents"] == [{"title": "Tower", "text": "<0>"}, "<1>"]


def test_document_blocks_keep_their_tags_and_the_text_around_is_the_question() -> None:
    text = f'Read this.\n<document id="a">{LONG}</document>\n<document>{LONG}</document>\nHow tall is it?'
    question, where, after = pruned({"messages": [{"role": "user", "content": text}]})
    assert question is not None
    assert question.split() == ["Read", "this.", "How", "tall", "is", "it?"]
    assert len(where) == 2
    content = after["messages"][0]["content"]
    assert content == 'Read this.\n<document id="a"><0></document>\n<document><1></document>\nHow tall is it?'


def test_blocks_in_system_messages_stay() -> None:
    body = {"messages": [{"role": "system", "content": f"<document>{LONG}</document>"}, QUESTION]}
    assert pruned(body)[1] == []


def test_a_long_context_of_the_user_is_told_from_the_question() -> None:
    for text in (
        f"Use the context.\nContext:\n\n{LONG * 3}\n\n{LONG * 2}\n\nHow tall is it?",
        f"How tall is it?\n\n{LONG * 3}\n\n{LONG * 2}",
    ):
        question, _, after = pruned({"messages": [{"role": "user", "content": text}]})
        assert question == "How tall is it?"
        assert "How tall is it?" in after["messages"][0]["content"]
        assert "<0>" in after["messages"][0]["content"]
        assert "330" not in after["messages"][0]["content"]


def test_a_long_message_without_a_question_of_its_own_stays_whole() -> None:
    assert pruned({"messages": [{"role": "user", "content": LONG * 10}]})[1] == []
    asked = {"messages": [{"role": "user", "content": f"{LONG * 5}\n\nHow tall is it?"}]}
    assert pruned(asked, user_text=False)[1] == []


def test_text_parts_beside_images() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:"}},
        {"type": "text", "text": f"<document>{LONG}</document>?"},
    ]
    _, where, after = pruned({"messages": [{"role": "user", "content": parts}]})
    assert where == ["messages[0].content[1].text"]
    assert after["messages"][0]["content"][0] == parts[0]


def test_odd_bodies_hold_nothing() -> None:
    odd: list[dict[str, Any]] = [
        {},
        {"messages": "x"},
        {"messages": [5, None, {"role": 3}, {"role": "user"}, {"role": "tool", "content": 7}]},
        {"messages": [QUESTION], "documents": {"text": LONG}},
        {"messages": [QUESTION, {"role": "tool", "content": "null"}]},
    ]
    for body in odd:
        assert find(body, 0).passages == []


def test_without_a_user_there_is_no_question() -> None:
    assert pruned({"messages": [{"role": "tool", "content": LONG}]})[0] is None
