"""Earlier reasoning of a chat request, shortened before vLLM's own chat code sees it. Fails open."""

from __future__ import annotations

import logging
from typing import Any

from reasonprune.api.request import Prepared
from reasonprune.cot.history import History
from reasonprune.metrics import METRICS

logger = logging.getLogger(__name__)


async def shorten_history(prepared: Prepared, app: Any) -> Prepared:
    """`prepared` with shorter messages where that was asked for and possible; the account says which, or why not."""
    options, account = prepared.context.options.history, prepared.context.account
    if options is None:
        return prepared
    messages = prepared.body.get("messages")
    history: History | None = getattr(app.state, "reasonprune_history", None)
    if history is None or not isinstance(messages, list):
        account.skip("history", "the request has no messages; earlier turns are known in chat requests only")
        return prepared
    # A turn that is to be continued is not an earlier one.
    open_end = bool(prepared.body.get("continue_final_message")) and len(messages) > 0
    earlier, rest = (messages[:-1], messages[-1:]) if open_end else (messages, [])
    with account.overhead():
        try:
            shortened, report = await history.compress(earlier, options.budget, str(prepared.body.get("model") or ""))
        except Exception as error:
            logger.exception("Earlier reasoning was not shortened; the request is answered with all of it.")
            METRICS.failures.labels("history").inc()
            account.skip("history", f"failed ({type(error).__name__}: {error}); all of the reasoning was kept")
            return prepared
    for reason in report.failed:
        account.skip("history", reason)
    prepared.context.on_answer = history.remember
    if not report.turns:
        if not report.failed:
            account.skip("history", "no earlier turn holds marked reasoning (a reasoning field, or think tags)")
        return prepared
    if report.prompt_tokens_saved <= 0:
        fits = all(turn["tokens"]["before"] == turn["tokens"]["after"] for turn in report.turns)
        reason = (
            "nothing could be left out" if fits else "the model's chat template leaves earlier reasoning out anyway"
        )
        account.skip("history", reason)
        return prepared
    account.record_history(options.budget, report)
    METRICS.history_tokens.inc(report.prompt_tokens_saved)
    return Prepared(prepared.body | {"messages": shortened + rest}, prepared.context)
