"""Puts the account and the honest token counts into vLLM's responses, whole or streamed."""

from __future__ import annotations

import json
from typing import Any

from reasonprune.accounting import Account

DONE = b"data: [DONE]"


def _fill(payload: dict[str, Any], account: Account) -> None:
    usage = payload.get("usage")
    if isinstance(usage, dict) and account.generated:
        usage["completion_tokens"] = account.generated_in_all
        usage["total_tokens"] = usage.get("prompt_tokens", 0) + account.generated_in_all
    payload["reasonprune"] = account.as_json()


def _dumped(payload: Any) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def complete(body: bytes, account: Account) -> bytes:
    """A whole JSON response with `usage` corrected and the account beside it.

    vLLM answers a client that has left with `null`, which stays as it is.
    """
    payload = json.loads(body)
    if not isinstance(payload, dict):
        return body
    _fill(payload, account)
    return _dumped(payload)


class StreamRewriter:
    """Passes server-sent events on as they come, but for the last chunk, which gets the account.

    Which chunk is the last is known only when `[DONE]` follows, so chunks that may be it (those with a finish reason,
    and the usage chunk) are held back until the next event. Nothing else waits.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._buffer = b""
        self._held: bytes | None = None

    def feed(self, data: bytes) -> bytes:
        """The bytes that can be sent on after `data` came in; always whole events."""
        self._buffer += data
        *events, self._buffer = self._buffer.split(b"\n\n")
        return b"".join(self._event(event) for event in events)

    def _event(self, event: bytes) -> bytes:
        if event.startswith(DONE):
            return self._release(last=True) + event + b"\n\n"
        if not event.startswith(b"data:"):
            return event + b"\n\n"
        released = self._release(last=False)
        if b'"finish_reason":"' in event or b'"choices":[]' in event:
            self._held = event
            return released
        return released + event + b"\n\n"

    def _release(self, last: bool) -> bytes:
        event, self._held = self._held, None
        if event is None:
            return b""
        if last:
            payload = json.loads(event.removeprefix(b"data:"))
            _fill(payload, self._account)
            event = b"data: " + _dumped(payload)
        return event + b"\n\n"

    def end(self) -> bytes:
        """What is left when the stream ends without `[DONE]`."""
        rest, self._buffer = self._release(last=False) + self._buffer, b""
        return rest
