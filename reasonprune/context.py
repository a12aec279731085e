"""What one HTTP request carries from the edge to the engine: its options, and the account that is filled in."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from reasonprune.accounting import Account
from reasonprune.depth.choice import Choice
from reasonprune.options import Options


@dataclass
class RequestContext:
    """Set by the HTTP layer around one request; tasks started for the request inherit it."""

    options: Options
    account: Account = field(default_factory=Account)
    depth: Choice | None = None


current_request: ContextVar[RequestContext | None] = ContextVar("reasonprune_request", default=None)
