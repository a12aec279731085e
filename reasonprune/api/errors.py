"""Our errors as HTTP responses, in OpenAI's shape."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from reasonprune.errors import ReasonpruneError


def error_response(error: ReasonpruneError) -> JSONResponse:
    """Status, headers and body of `error`."""
    return JSONResponse(error.body(), error.status, error.headers)
