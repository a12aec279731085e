"""A limit on the traces of all requests in flight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reasonprune.errors import OverloadedError


class Admission:
    """Counts traces that requests in flight may run at once. One event loop, so no lock."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.live = 0

    @contextmanager
    def enter(self, traces: int) -> Iterator[None]:
        """Raises OverloadedError (429) where `traces` more would exceed the limit."""
        if self.live + traces > self.limit:
            raise OverloadedError(
                f"{self.live} traces are running and this request would start up to {traces} more; the server's limit"
                f" is {self.limit} (server.max_live_traces). Try again in {OverloadedError.retry_after_s} s, or ask"
                " for a smaller reasonprune.parallel.n.",
                "reasonprune.parallel.n",
            )
        self.live += traces
        try:
            yield
        finally:
            self.live -= traces
