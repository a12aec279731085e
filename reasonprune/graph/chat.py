"""Evidence from a graph in a chat request, before it reaches the engine."""

from __future__ import annotations

import logging
from dataclasses import replace

from reasonprune.accounting import LOSSLESS
from reasonprune.api.request import Prepared
from reasonprune.errors import RequestError
from reasonprune.graph.service import GraphService
from reasonprune.metrics import METRICS

logger = logging.getLogger(__name__)


async def with_evidence(prepared: Prepared, graphs: GraphService) -> Prepared:
    """The request with evidence before its last question, or as it was, with the reason in the account.

    Raises RequestError where the request itself names a graph or a topic that does not exist; a graph that fails is
    skipped and counted, and the request is answered without it.
    """
    options, account = prepared.context.options.graph, prepared.context.account
    if options is None:
        return prepared
    with account.overhead():
        if "messages" not in prepared.body:
            account.skip("graph", "evidence goes into chat messages; /v1/completions has none")
            return prepared
        try:
            enriched = await graphs.enrich(prepared.body["messages"], options)
        except RequestError:
            raise
        except Exception as error:
            logger.exception("The graph failed; the request is answered without evidence.")
            METRICS.failures.labels("graph").inc()
            enriched = f"failed ({type(error).__name__}: {error})"
    if isinstance(enriched, str):
        account.skip("graph", enriched)
        return prepared
    result = enriched.result
    account.graph = {
        "store": options.store,
        "lossless": LOSSLESS["graph"],
        "topics": [topic.name for topic in result.topics],
        "answers": [answer.name for answer in result.answers[:3]],
        "paths": result.lines,
        "sufficient": result.sufficient,
        "reason": result.reason,
        **result.account,
    }
    return replace(prepared, body={**prepared.body, "messages": enriched.messages})
