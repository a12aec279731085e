"""`/v1/compress`: one chain of thought, or the earlier turns of a chat, shortened and handed back. Nothing is generated
but what a written anchor or the gate needs."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import Field

from reasonprune.api.errors import error_response
from reasonprune.cot.backends import Backend
from reasonprune.cot.chats import Found, Recorded
from reasonprune.cot.compressor import Chain, Method
from reasonprune.cot.files import CompressConfig, compress_found
from reasonprune.cot.history import History
from reasonprune.errors import ReasonpruneError, RequestError
from reasonprune.section import Section
from reasonprune.settings import validate

ROUTE = "/v1/compress"


class CompressRequest(Section):
    """Either `reasoning`, with what is known of its question, or `messages` whose earlier turns hold reasoning."""

    model: str | None = Field(None, description="a served model; unset: the server's own")
    reasoning: str | None = Field(None, description="the chain of thought")
    question: str = Field("", description="what the chain answers")
    answer: str = Field("", description="the visible answer, which says what the chain must lead to")
    messages: list[dict[str, Any]] | None = Field(None, description="a chat; without `reasoning`, to be shortened")
    budget: float = Field(0.5, gt=0, description="share of the chain's tokens to keep (up to 1), or tokens (above 1)")
    method: Method = Field("asap", description="what chooses the steps")
    anchor: Literal["visible", "llm"] = Field("visible", description="`llm`: a route that the model writes")
    iterative: bool = Field(False, description="score anew after every step that is left out")
    gate: bool = Field(False, description="keep the chain whole where the model then answers otherwise")
    seed: int = 0
    tokens: list[str] | None = Field(None, description="the chain's tokens as text, with `logprobs`")
    token_ids: list[int] | None = Field(None, description="or as ids of `tokenizer`, with `logprobs`")
    logprobs: list[float | None] | None = Field(None, description="recorded log-probabilities, one a token")
    tokenizer: str | None = Field(None, description="fingerprint of the tokenizer that recorded them")


async def compress_request(body: Any, backend: Backend, history: History) -> dict[str, Any]:
    """The answer to a request's JSON body. Raises ReasonpruneError naming the field and the remedy."""
    if not isinstance(body, dict):
        raise RequestError('The body must be an object, such as {"reasoning": "...", "budget": 0.5}.')
    request: CompressRequest = validate(CompressRequest, body, "body")
    if request.reasoning is None:
        return await _messages(request, history)
    if not request.reasoning.strip():
        raise RequestError("reasoning is empty; send the chain of thought.", "reasoning")
    given = request.tokens if request.tokens is not None else request.token_ids
    if (given is None) != (request.logprobs is None):
        raise RequestError("logprobs go with tokens or token_ids; send both or neither.", "logprobs")
    before = request.messages or ([{"role": "user", "content": request.question}] if request.question else [])
    target = {"reasoning": request.reasoning}
    recorded = (
        Recorded(request.logprobs, request.tokens, request.token_ids, request.tokenizer) if request.logprobs else None
    )
    chain = Chain(request.reasoning, request.question, request.answer)
    found = Found(chain, before, target, "reasoning", 0, len(request.reasoning), "<think>\n", recorded)
    config = CompressConfig(
        request.budget, request.method, request.anchor, request.iterative, request.gate, seed=request.seed
    )
    report = await compress_found(found, config, backend, "the request", request.seed)
    return {"object": "reasonprune.compression", "reasoning": target["reasoning"], **report}


async def _messages(request: CompressRequest, history: History) -> dict[str, Any]:
    if request.messages is None:
        raise RequestError("Send reasoning (a chain of thought), or messages that hold some.", "reasoning")
    alone = {"method", "anchor", "iterative", "gate", "seed", "tokens", "token_ids", "logprobs", "question", "answer"}
    if idle := sorted(request.model_fields_set & alone):
        raise RequestError(f"{', '.join(idle)} only with reasoning; messages take a budget alone.", idle[0])
    messages, report = await history.compress(request.messages, request.budget, request.model or "")
    return {
        "object": "reasonprune.compression",
        "messages": messages,
        "turns": report.turns,
        "prompt_tokens_saved": report.prompt_tokens_saved,
        "not_applied": [{"technique": "history", "reason": reason} for reason in report.failed],
    }


def attach(app: Any, served: Any) -> None:
    """Adds the route; what answers it is put into `app.state` when the engine is ready."""

    async def compress(request: Request) -> JSONResponse:
        try:
            try:
                body = await request.json()
            except ValueError as error:
                raise RequestError(f"The body is not JSON: {error}.") from None
            model = body.get("model") if isinstance(body, dict) else None
            if model is not None and model not in served(app):
                names = ", ".join(served(app))
                raise RequestError(f"model {model!r} is not served here. Served: {names}.", "model")
            return JSONResponse(
                await compress_request(body, app.state.reasonprune_backend, app.state.reasonprune_history)
            )
        except ReasonpruneError as error:
            return error_response(error)

    app.add_api_route(ROUTE, compress, methods=["POST"], name="compress", tags=["reasonprune"])
