import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.accounting import Account
from reasonprune.api.response import StreamRewriter, complete


def account(generated: int = 30) -> Account:
    return Account(generated=generated, returned=10)


def event(payload) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def chunk(text: str, finish: str | None = None, **others) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **others})


DONE = b"data: [DONE]\n\n"
FIRST = chunk("Grüße 🎉 ")
QUOTED = chunk('"finish_reason":"stop"')
LAST = chunk("4", "stop")
USAGE = event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15}})
COMMENT = b": still here\n\n"
ERROR = event({"error": {"message": "gone"}})


def payload(data: bytes) -> dict:
    return json.loads(data.removeprefix(b"data: "))


def test_a_whole_response_gets_the_account_and_true_usage():
    usage = {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15, "details": None}
    made = json.loads(complete(json.dumps({"id": "ü", "usage": usage}).encode(), account()))
    assert made["id"] == "ü"
    assert made["usage"] == {"prompt_tokens": 5, "completion_tokens": 30, "total_tokens": 35, "details": None}
    assert made["reasonprune"]["tokens"] == {"generated": 30, "returned": 10, "probes": 0}


def test_usage_stays_where_nothing_was_counted():
    usage = {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15}
    assert json.loads(complete(json.dumps({"usage": usage}).encode(), account(0)))["usage"] == usage


@pytest.mark.parametrize("others", [{}, {"usage": None}])
def test_a_response_without_usage(others):
    made = json.loads(complete(json.dumps(others).encode(), account()))
    assert made.pop("reasonprune")
    assert made == others


@pytest.mark.parametrize(
    "stream",
    [
        [FIRST, LAST, DONE],
        [FIRST, QUOTED, LAST, DONE],
        [FIRST, LAST, USAGE, DONE],
        [FIRST, LAST, LAST, USAGE, DONE],
        [COMMENT, FIRST, COMMENT, LAST, USAGE, DONE],
    ],
)
def test_the_last_chunk_gets_the_account(stream):
    rewriter = StreamRewriter(account())
    out = b"".join(map(rewriter.feed, stream)) + rewriter.end()
    events = [e + b"\n\n" for e in out.split(b"\n\n")[:-1]]
    assert events[-1] == DONE
    assert events[:-2] == stream[:-2]
    last = payload(events[-2])
    assert last.pop("reasonprune")["tokens"]["generated"] == 30
    expected = payload(stream[-2])
    if stream[-2] == USAGE:
        expected["usage"] |= {"completion_tokens": 30, "total_tokens": 35}
    assert last == expected


def test_nothing_waits_but_what_may_be_last():
    rewriter = StreamRewriter(account())
    assert rewriter.feed(FIRST) == FIRST
    assert rewriter.feed(QUOTED) == QUOTED
    assert rewriter.feed(LAST) == b""
    assert rewriter.feed(USAGE) == LAST
    assert rewriter.feed(ERROR) == USAGE + ERROR


@pytest.mark.parametrize("stream", [FIRST + ERROR + DONE, FIRST + LAST, FIRST + LAST + b"data: cut", b"", b"data: cu"])
def test_a_stream_that_ends_early_is_left_as_it_is(stream):
    rewriter = StreamRewriter(account())
    assert rewriter.feed(stream) + rewriter.end() == stream
    assert rewriter.end() == b""


@given(cuts=st.lists(st.integers(0, 600), max_size=8), usage=st.booleans())
def test_it_does_not_matter_where_the_stream_is_cut(cuts, usage):
    fixed = account()
    as_json = fixed.as_json()
    fixed.as_json = lambda: as_json  # its times would differ
    stream = b"".join([FIRST, QUOTED, COMMENT, LAST, *([USAGE] if usage else []), DONE])
    whole = StreamRewriter(fixed)
    expected = whole.feed(stream) + whole.end()

    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    rewriter = StreamRewriter(fixed)
    pieces = [rewriter.feed(stream[a:b]) for a, b in pairwise(bounds)]
    assert b"".join(pieces) + rewriter.end() == expected
    assert all(piece.endswith(b"\n\n") for piece in pieces if piece)


def test_what_is_sent_to_a_client_that_has_left_stays_as_it_is():
    assert complete(b"null", Account()) == b"null"
