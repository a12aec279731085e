import pytest

from reasonprune.errors import (
    EngineError,
    GraphError,
    ModelError,
    OverloadedError,
    PoolError,
    ReasonpruneError,
    RequestError,
    ScoreError,
    UnknownModelError,
    UnsupportedError,
)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ReasonpruneError, 500, "InternalServerError"),
        (RequestError, 400, "BadRequestError"),
        (UnsupportedError, 400, "BadRequestError"),
        (ScoreError, 400, "BadRequestError"),
        (UnknownModelError, 404, "NotFoundError"),
        (OverloadedError, 429, "RateLimitError"),
        (EngineError, 500, "InternalServerError"),
        (ModelError, 500, "InternalServerError"),
        (PoolError, 500, "InternalServerError"),
        (GraphError, 502, "BadGatewayError"),
    ],
)
def test_the_body_has_the_shape_of_openai(error, status, kind):
    raised = error("Lower n.", "n")
    assert raised.body() == {"error": {"message": "Lower n.", "type": kind, "param": "n", "code": status}}
    assert raised.status == status
    assert str(raised) == "Lower n."
    assert error("Lower n.").body()["error"]["param"] is None


def test_what_a_client_can_mend_is_a_request_error():
    assert issubclass(UnknownModelError, RequestError)
    assert issubclass(UnsupportedError, RequestError)
    assert not issubclass(OverloadedError, RequestError)
