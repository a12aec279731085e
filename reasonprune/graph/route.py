"""`POST /v1/graph/query`: a question in; answers, paths, evidence and account out."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from reasonprune.api.errors import error_response
from reasonprune.errors import ReasonpruneError, RequestError
from reasonprune.graph.service import GraphService
from reasonprune.options import GraphOptions
from reasonprune.settings import validate


def graph_router(service: GraphService, default: GraphOptions | None) -> APIRouter:
    """`default`: the server's own `graph` settings, below what a request says."""
    router = APIRouter()

    @router.post("/v1/graph/query")
    async def query(request: Request) -> JSONResponse:
        try:
            question, options = parse(await request.body(), default)
            result = await service.query(question, options)
        except ReasonpruneError as error:
            return error_response(error)
        return JSONResponse(result.as_json())

    return router


def parse(body: bytes, default: GraphOptions | None) -> tuple[str, GraphOptions]:
    """`{"question": ..., "store": ..., any key of graph}`. Raises RequestError naming the field."""
    try:
        given: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError("The body is not JSON.") from None
    if not isinstance(given, dict):
        raise RequestError('The body must be an object, such as {"question": "...", "store": "..."}.')
    question = given.pop("question", None)
    if not isinstance(question, str):
        raise RequestError("question must be a string.", "question")
    merged = {**(default.model_dump(exclude_unset=True) if default else {}), **given}
    options: GraphOptions = validate(GraphOptions, merged, "graph")
    return question, options
