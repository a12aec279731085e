"""What one HTTP request carries from the edge to the engine: its options, and the account that is filled in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from reasonprune.accounting import Account
from reasonprune.depth.choice import Choice
from reasonprune.depth.program import LayerProgram
from reasonprune.options import Options


@dataclass
class RequestContext:
    """Set by the HTTP layer around one request; tasks started for the request inherit it."""

    options: Options
    account: Account = field(default_factory=Account)
    depth: Choice | None = None
    draft: LayerProgram | None = None  # drafts for speculation
    # Called with text, token ids and log-probabilities of each plain answer, where somebody wants them kept.
    on_answer: Callable[[str, Sequence[int], Sequence[float]], Awaitable[None]] | None = None


current_request: ContextVar[RequestContext | None] = ContextVar("reasonprune_request", default=None)
