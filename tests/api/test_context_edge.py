"""Context pruning in a request, with the pruner that ships."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from reasonprune.api.context import PrunerService, prune_request
from reasonprune.api.request import CHAT_ROUTE, Prepared, prepare
from reasonprune.options import Settings

TOWER = (
    "The Eiffel Tower stands on the Champ de Mars in Paris. It was named after the engineer Gustave Eiffel. "
    "The tower is 330 metres tall. Lunch in the restaurant is expensive. Many tourists take photographs at night. "
    "The second floor has a shop that sells postcards and umbrellas. Pigeons like the lawns around it."
)
USER = {"role": "user", "content": "How tall is the Eiffel Tower?"}
TOOL = {"role": "tool", "tool_call_id": "7", "content": TOWER}


@pytest.fixture(scope="module")
def service() -> PrunerService:
    return PrunerService(None)


def asked(context: Any, *messages: Any, **body: Any) -> Prepared:
    whole = {"model": "demo", "messages": list(messages), "reasonprune": {"context": context}, **body}
    prepared = prepare(whole, Settings(), ["demo"])
    assert prepared is not None
    return prepared


async def test_a_tool_result_is_pruned_and_the_account_lists_what_went(service: PrunerService) -> None:
    prepared = await prune_request(service, CHAT_ROUTE, asked({}, USER, TOOL))
    left = prepared.body["messages"][1]["content"]
    assert "330 metres" in left
    assert "Pigeons" not in left
    assert prepared.body["messages"][0] == USER
    account = prepared.context.account.as_json()
    assert account["applied"] == ["context"]
    assert account["ms"]["overhead"] >= account["context"]["ms"]
    [passage] = account["context"]["passages"]
    assert (passage["where"], passage["characters"], passage["kept"]) == ("messages[1].content", len(TOWER), len(left))
    for gap in passage["removed"]:
        assert TOWER[gap["start"] : gap["end"]].startswith(gap["text"])
    assert account["context"]["removed_share"] == pytest.approx(1 - len(left) / len(TOWER), abs=1e-3)


@pytest.mark.parametrize(
    ("context", "messages", "path", "reason"),
    [
        ({}, [USER], CHAT_ROUTE, "no tool result, document or long context of at least 300"),
        ({"from_characters": 5000}, [USER, TOOL], CHAT_ROUTE, "at least 5000"),
        ({}, [TOOL], CHAT_ROUTE, "no message of the user"),
        ({"threshold": 1.0}, [USER, TOOL], CHAT_ROUTE, "no sentence was above"),
        ({}, [USER, TOOL], "/v1/completions", "no messages"),
    ],
)
async def test_what_is_not_done_is_said(
    service: PrunerService, context: Any, messages: Any, path: str, reason: str
) -> None:
    before = asked(context, *messages)
    prepared = await prune_request(service, path, before)
    assert prepared is before
    [skipped] = prepared.context.account.not_applied
    assert skipped["technique"] == "context"
    assert reason in skipped["reason"]
    assert prepared.context.account.applied == []


async def test_a_pruner_that_cannot_be_opened_changes_nothing() -> None:
    before = asked({}, USER, TOOL)
    prepared = await prune_request(PrunerService("no such place"), CHAT_ROUTE, before)
    assert prepared is before
    [skipped] = prepared.context.account.not_applied
    assert "neither a folder that exists" in skipped["reason"]


async def test_not_asked_for_is_not_done(service: PrunerService) -> None:
    before = asked(None, USER, TOOL)
    assert await prune_request(service, CHAT_ROUTE, before) is before
    assert before.context.account.not_applied == []


def test_the_server_may_prune_by_default() -> None:
    prepared = prepare({"model": "demo", "messages": []}, Settings.model_validate({"context": {}}), ["demo"])
    assert prepared is not None
    assert prepared.context.options.context is not None
