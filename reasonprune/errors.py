"""The errors of reasonprune, each with the HTTP status and the OpenAI error type and code it is answered with.

ReasonpruneError                    500
+-- RequestError                    400   the client can mend it; names the field and the remedy
|   +-- UnknownModelError           404
|   +-- UnsupportedError            400   asked for, but not possible here
|   +-- ScoreError                  400   a chain of thought cannot be scored: no, or foreign, log-probabilities
+-- OverloadedError                 429   come back later
+-- ModelError                      -     a model cannot be found, fetched or used (start-up and command line)
+-- PoolError                       -     a file of recorded traces cannot be used (command line)
+-- GraphError                      502   a knowledge graph cannot be read, or its endpoint failed
+-- DataError                       -     a file of questions, contexts or labels cannot be used (command line)
+-- DatastoreError                  -     a datastore of drafts cannot be read or written (start-up and command line)
+-- EngineError                     500   the engine failed; there is nothing to fall back to
"""

from __future__ import annotations

from typing import Any, ClassVar


class ReasonpruneError(Exception):
    """Base of all errors raised on purpose. `param` names the field at fault, as in OpenAI's error shape."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "InternalServerError"
    code: ClassVar[str] = "reasonprune_error"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def body(self) -> dict[str, Any]:
        """The JSON body of the HTTP answer: `{"error": {"message", "type", "param", "code"}}`, as vLLM shapes it."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.status}}

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the HTTP answer beside those of its body."""
        return {}


class RequestError(ReasonpruneError):
    """The request cannot be served as it stands; nothing has reached the engine."""

    status = 400
    type = "BadRequestError"
    code = "invalid_request"


class UnknownModelError(RequestError):
    """The model, or the preset behind its `@`, does not exist."""

    status = 404
    type = "NotFoundError"
    code = "model_not_found"


class UnsupportedError(RequestError):
    """The combination that was asked for cannot be done on this route or by this engine."""

    code = "unsupported"


class ScoreError(RequestError):
    """The steps of a chain of thought cannot be scored with the log-probabilities at hand."""

    code = "score_error"


class OverloadedError(ReasonpruneError):
    """The limit of live traces is reached; retry after some seconds."""

    status = 429
    type = "RateLimitError"
    code = "overloaded"
    retry_after_s: ClassVar[int] = 1

    @property
    def headers(self) -> dict[str, str]:
        return {"retry-after": str(self.retry_after_s)}


class ModelError(ReasonpruneError):
    """A model cannot be found, fetched, converted or loaded."""

    code = "model_error"


class PoolError(ReasonpruneError):
    """A file of recorded traces is malformed, or lacks what a policy needs."""

    code = "pool_error"


class GraphError(ReasonpruneError):
    """A knowledge graph cannot be read, or the endpoint that holds it failed, timed out or answered nonsense."""

    status = 502
    type = "BadGatewayError"
    code = "graph_error"


class DataError(ReasonpruneError):
    """A file of questions, contexts or labels cannot be read, or is not in a shape that is known."""

    code = "data_error"


class DatastoreError(ReasonpruneError):
    """A datastore of drafts is missing, damaged, another tokenizer's, or cannot be written."""

    code = "datastore_error"


class EngineError(ReasonpruneError):
    """The engine itself failed; falling back to a plain answer would fail in the same way."""

    code = "engine_error"
