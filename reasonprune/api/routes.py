"""The routes `/v1/prune` and `/v1/rerank`. Errors have OpenAI's shape and name the field."""

from __future__ import annotations

import json
import uuid
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from reasonprune.api.context import PrunerService
from reasonprune.api.errors import error_response
from reasonprune.errors import ReasonpruneError, RequestError
from reasonprune.settings import validate

DEFAULT_NAME = "reasonprune-pruner"


class PruneRequest(BaseModel):
    """The body of `/v1/prune`: the arguments of `ContextPruner.process`, in the same shapes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: Any  # the shapes of these three are told apart, and explained, by `process` itself
    context: Any
    title: Any = "first_sentence"
    first_line_as_title: bool = False
    threshold: float | None = Field(None, ge=0, le=1)
    rounding: str = "mean"
    always_select_title: bool = False
    reorder: bool = False
    top_k: int | None = Field(None, ge=0)
    language: str | None = None
    return_sentence_metrics: bool = False
    return_sentence_texts: bool = False
    return_spans: bool = False


class RerankRequest(BaseModel):
    """The body of `/v1/rerank`, as clients of Jina, Cohere and vLLM send it; keys of theirs not named are reported."""

    model_config = ConfigDict(extra="allow", strict=True)

    query: str
    documents: list[str | dict[str, Any]] = Field(min_length=1)
    model: str | None = None
    top_n: int | None = Field(None, ge=0)
    return_documents: bool = True


def router(service: PrunerService) -> APIRouter:
    """Both routes, answered by `service`."""
    made = APIRouter()

    @made.post("/v1/prune")
    async def prune(request: Request) -> JSONResponse:
        try:
            asked = validate(PruneRequest, await _body(request), "body")
            arguments = asked.model_dump()
            result = await service.process(arguments.pop("question"), arguments.pop("context"), **arguments)
            return JSONResponse({"id": f"prune-{uuid.uuid4().hex}", "object": "prune", **result})
        except ReasonpruneError as error:
            return error_response(error)

    @made.post("/v1/rerank")
    async def rerank(request: Request) -> JSONResponse:
        try:
            asked = validate(RerankRequest, await _body(request), "body")
            texts = [_text(document, i) for i, document in enumerate(asked.documents)]
            scores, tokens = await service.rerank(asked.query, texts)
            return JSONResponse(_ranked(asked, texts, scores, tokens))
        except ReasonpruneError as error:
            return error_response(error)

    return made


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise RequestError("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise RequestError("The body must be a JSON object.")
    return body


def _text(document: str | dict[str, Any], index: int) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise RequestError(
            f"body.documents.{index} has no string `text`; give a string or an object with one.", f"documents.{index}"
        )
    return text


def _ranked(asked: RerankRequest, texts: list[str], scores: list[float], tokens: int) -> dict[str, Any]:
    order = sorted(range(len(texts)), key=lambda i: -scores[i])[: asked.top_n or None]
    results: list[dict[str, Any]] = []
    for i in order:
        shown = {"document": {"text": texts[i]}} if asked.return_documents else {}
        results.append({"index": i, "relevance_score": scores[i], **shown})
    ignored = sorted(asked.model_extra or {})
    return {
        "id": f"rerank-{uuid.uuid4().hex}",
        "model": asked.model or DEFAULT_NAME,
        "usage": {"total_tokens": tokens, "prompt_tokens": tokens},
        "results": results,
        **({"not_applied": [{"key": key, "reason": "not known here"} for key in ignored]} if ignored else {}),
    }
