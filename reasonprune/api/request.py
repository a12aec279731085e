"""From the JSON body of a request to its options: what is ours is taken out, the rest goes to vLLM unchanged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from reasonprune.context import RequestContext
from reasonprune.depth.choice import Programs
from reasonprune.errors import RequestError, UnsupportedError
from reasonprune.options import TECHNIQUES, Settings
from reasonprune.settings import resolve

FIELD = "reasonprune"
CHAT_ROUTE = "/v1/chat/completions"
RACED_ROUTES = (CHAT_ROUTE, "/v1/completions")


@dataclass(frozen=True)
class Prepared:
    """A request of ours: the body for vLLM, and the context that goes with it."""

    body: dict[str, Any]
    context: RequestContext


def prepare(
    body: dict[str, Any], settings: Settings, served: Collection[str], programs: Programs | None = None
) -> Prepared | None:
    """Options and rewritten body of a completion request; None where nothing of ours is asked for.

    Raises:
        RequestError: naming the field that is wrong and the remedy; nothing has reached the engine.
    """
    base, preset = _split_model(body.get("model"), served)
    asked = FIELD in body
    standing = settings.effort not in (None, "off") or any(
        getattr(settings, name) is not None for name in ("parallel", *TECHNIQUES)
    )
    if not asked and preset is None and not standing:
        return None
    options = resolve(settings, preset, body.get(FIELD))
    context = RequestContext(options)
    if conflict := _conflict(body, options.parallel.n) if options.parallel else None:
        if asked:
            raise conflict
        # The server's own default must not turn a valid plain request away.
        context = RequestContext(options.model_copy(update={"parallel": None}))
        context.account.skip("parallel", conflict.message)
    _choose_layers(context, programs)
    _choose_draft(context, programs)
    rest = {key: value for key, value in body.items() if key != FIELD}
    if preset is not None:
        rest["model"] = base
    return Prepared(rest, context)


def _choose_layers(context: RequestContext, programs: Programs | None) -> None:
    """Into the context; what cannot be followed on this server is told in the account."""
    options = context.options.depth
    if options is None:
        return
    reason = programs.support.reason if programs else "this server has no engine of its own"
    if programs is not None and reason is None:
        choice = programs.choose(options, parallel=context.options.parallel is not None)
        reason = programs.missing(choice)
        context.depth = choice if reason is None else None
    if reason is not None:
        context.account.skip("depth", reason)


def _choose_draft(context: RequestContext, programs: Programs | None) -> None:
    """As `_choose_layers`, for the layers that draft."""
    options = context.options.speculative
    if options is None or options.layers is None or not options.enabled:
        return
    reason = programs.support.no_draft if programs else "this server has no engine of its own"
    if programs is not None and reason is None:
        context.draft = programs.draft(options.layers)
    else:
        context.account.skip("speculative", f"layers {options.layers} do not draft: {reason}")


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
