"""From the JSON body of a request to its options: what is ours is taken out, the rest goes to vLLM unchanged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from reasonprune.context import RequestContext
from reasonprune.errors import RequestError, UnsupportedError
from reasonprune.options import Settings
from reasonprune.settings import resolve

FIELD = "reasonprune"
RACED_ROUTES = ("/v1/chat/completions", "/v1/completions")


@dataclass(frozen=True)
class Prepared:
    """A request of ours: the body for vLLM, and the context that goes with it."""

    body: dict[str, Any]
    context: RequestContext


def prepare(body: dict[str, Any], settings: Settings, served: Collection[str]) -> Prepared | None:
    """Options and rewritten body of a completion request; None where nothing of ours is asked for.

    Raises:
        RequestError: naming the field that is wrong and the remedy; nothing has reached the engine.
    """
    base, preset = _split_model(body.get("model"), served)
    asked = FIELD in body
    if (
        not asked
        and preset is None
        and settings.effort in (None, "off")
        and settings.parallel is None
        and settings.graph is None
    ):
        return None
    options = resolve(settings, preset, body.get(FIELD))
    context = RequestContext(options)
    if conflict := _conflict(body, options.parallel.n) if options.parallel else None:
        if asked:
            raise conflict
        # The server's own default must not turn a valid plain request away.
        context = RequestContext(options.model_copy(update={"parallel": None}))
        context.account.skip("parallel", conflict.message)
    rest = {key: value for key, value in body.items() if key != FIELD}
    if preset is not None:
        rest["model"] = base
    return Prepared(rest, context)


def refuse_elsewhere(path: str) -> RequestError:
    """For a route that cannot run traces: better refused than silently ignored."""
    routes = " and ".join(RACED_ROUTES)
    return UnsupportedError(f"{FIELD} is not supported on {path}; use {routes}, or leave the field out.", FIELD)


def _split_model(model: Any, served: Collection[str]) -> tuple[str | None, str | None]:
    """`name@preset` into its parts; a served model whose own name holds an @ stays whole."""
    if not isinstance(model, str) or model in served or "@" not in model:
        return None, None
    base, _, preset = model.rpartition("@")
    return (base, preset) if base in served else (None, None)


def _conflict(body: dict[str, Any], n: int) -> RequestError | None:
    choices = body.get("n") or 1
    if isinstance(choices, int) and choices > n:
        return RequestError(
            f"n is {choices}, but reasonprune.parallel.n allows {n} traces; n returns the n best of them. Lower n or"
            " raise reasonprune.parallel.n.",
            "n",
        )
    if body.get("use_beam_search"):
        return UnsupportedError(
            "use_beam_search cannot be combined with reasonprune.parallel; drop one of them.", "use_beam_search"
        )
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) > 1 and not all(isinstance(token, int) for token in prompt):
        return UnsupportedError(
            f"prompt holds {len(prompt)} prompts; with reasonprune.parallel send one prompt a request.", "prompt"
        )
    return None
