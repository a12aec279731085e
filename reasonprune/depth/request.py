"""How a layer program travels with an engine request: as an argument of its sampling, and in its cache salt."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

from reasonprune.depth.program import LayerProgram

PROGRAM_ARGUMENT = "reasonprune_layers"
# A client may send any salt; none must be that of a program's prefixes.
SECRET = secrets.token_hex(16)


def with_program(prompt: Any, params: Any, program: LayerProgram) -> tuple[Any, Any]:
    """Prompt and sampling parameters of a request that runs `program`; neither argument is changed.

    Keys and values depend on the layers that made them, so requests share a prefix only where they share the program:
    it becomes part of the salt, beside the client's own.
    """
    params = params.clone()
    params.extra_args = {**(params.extra_args or {}), PROGRAM_ARGUMENT: str(program)}
    salt = f"{SECRET} {program} {prompt.get('cache_salt') or ''}"
    return {**prompt, "cache_salt": salt}, params


def without_program(params: Any) -> Any:
    """Sampling parameters in which no client has put a program past our checks; the same object where there is none."""
    if not (isinstance(params.extra_args, Mapping) and PROGRAM_ARGUMENT in params.extra_args):
        return params
    params = params.clone()
    params.extra_args = {key: value for key, value in params.extra_args.items() if key != PROGRAM_ARGUMENT}
    return params


class ProgrammedEngine:
    """An `EngineClient` all of whose requests run one program; what a race starts through it shares its KV cache."""

    def __init__(self, inner: Any, program: LayerProgram) -> None:
        self._inner = inner
        self.program = program

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def generate(self, prompt: Any, params: Any, request_id: str, **options: Any) -> AsyncIterator[Any]:
        """As `EngineClient.generate`."""
        prompt, params = with_program(prompt, params, self.program)
        return self._inner.generate(prompt, params, request_id, **options)
