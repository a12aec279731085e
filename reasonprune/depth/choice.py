"""From what a request asks for to the layer programs that its traces run."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reasonprune.depth.bank import check_bank, read_bank
from reasonprune.depth.program import PROGRAM_NAME, LayerProgram, parsed
from reasonprune.depth.support import DepthSupport, draftable
from reasonprune.errors import RequestError, UnsupportedError
from reasonprune.options import DepthOptions, ServerOptions, Settings

if TYPE_CHECKING:
    from reasonprune.depth.router import Router

FIELD = "reasonprune.depth"
DRAFT_FIELD = "reasonprune.speculative.layers"
NO_ROUTER = (
    "auto needs a router (server.depth_router, made by `reasonprune train router`) and this server has none; name a"
    " program instead"
)


@dataclass(frozen=True)
class Choice:
    """A program for trace i is `programs[i % len(programs)]`; `auto`: the router decides when it sees the prompt."""

    programs: tuple[LayerProgram | Literal["auto"], ...]


@dataclass(frozen=True)
class Programs:
    """What a server can run: its engine's layers and slots, its bank of names, its router."""

    support: DepthSupport
    bank: dict[str, LayerProgram] = field(default_factory=dict)
    router: Router | None = None

    @classmethod
    def of(cls, support: DepthSupport, server: ServerOptions) -> Programs:
        """With the files that the settings name. Raises ModelError where one cannot be used with this model."""
        bank, router = {}, None
        if server.depth_bank:
            path = Path(server.depth_bank)
            found = read_bank(path)
            check_bank(found, path, support.layers, support.slots)
            bank = dict(found.parsed)
        if server.depth_router:
            from reasonprune.depth.router import check_router, read_router

            path = Path(server.depth_router)
            router = read_router(path)
            check_router(router, path, support.layers, support.slots)
        return cls(support, bank, router)

    def choose(self, options: DepthOptions, parallel: bool) -> Choice:
        """Raises RequestError naming the field, what is wrong and the remedy."""
        if options.traces is not None:
            if not parallel:
                raise RequestError(
                    f"{FIELD}.traces names programs of parallel traces, and this request has none. Add"
                    f" reasonprune.parallel, or name one program in {FIELD}.program.",
                    f"{FIELD}.traces",
                )
            return Choice(tuple(self._program(text, f"{FIELD}.traces") for text in options.traces))
        return Choice((self._program(options.program, f"{FIELD}.program"),))

    def draft(self, text: str) -> LayerProgram:
        """The program that drafts for speculation. Raises RequestError where it does not only skip layers."""
        program = self._program(text, DRAFT_FIELD)
        if program == "auto" or not draftable(program.layers, self.support.layers):
            raise RequestError(
                f"{DRAFT_FIELD} is {text}, but a draft leaves layers out, runs each of the others once, and keeps their"
                f" order. Write layers of 0 to {self.support.layers - 1}, such as 0-{self.support.layers - 2}.",
                DRAFT_FIELD,
            )
        return program

    def check(self, settings: Settings) -> None:
        """Raises RequestError where a server's own defaults or presets ask for what it cannot run."""
        for where, options in {"": settings, **settings.presets}.items():
            prefix = "settings" if options is settings else f"settings.presets.{where}"
            if options.speculative is not None and options.speculative.layers is not None:
                self._check_draft(options.speculative.layers, f"{prefix}.speculative.layers")
            if options.depth is None:
                continue
            try:
                if self.support.reason:
                    raise UnsupportedError(f"{self.support.reason}; or leave depth out.")
                self.choose(options.depth, parallel=options.depth.traces is not None)
            except RequestError as error:
                field = f"{prefix}.depth"
                raise type(error)(f"{field}: {error.message}", field) from None

    def _check_draft(self, text: str, field: str) -> None:
        try:
            if self.support.no_draft:
                raise UnsupportedError(f"{self.support.no_draft}; or leave layers out.")
            self.draft(text)
        except RequestError as error:
            raise type(error)(f"{field}: {error.message}", field) from None

    def missing(self, choice: Choice) -> str | None:
        """Why a choice that is well formed cannot be followed, None where it can."""
        return NO_ROUTER if "auto" in choice.programs and self.router is None else None

    def _program(self, text: str, param: str) -> LayerProgram | Literal["auto"]:
        if text == "auto":
            return "auto"
        if text == "full":
            return LayerProgram.full(self.support.layers)
        if PROGRAM_NAME.fullmatch(text):
            if text not in self.bank:
                known = ["full", "auto", *sorted(self.bank)]
                near = difflib.get_close_matches(text, known, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise RequestError(
                    f"{param} is '{text}', which is not a program of this server.{hint} Names: {', '.join(known)}; or"
                    " write layers, such as 0-9,12-29.",
                    param,
                )
            return self.bank[text]
        program = parsed(text)
        if problem := program.problem(self.support.layers, self.support.slots):
            raise RequestError(f"{param} is {text}: {problem}.", param)
        return program

    def routed(self, choice: Choice, token_ids: Sequence[int]) -> tuple[tuple[LayerProgram, ...], str | None]:
        """The programs to run, and what the router said where it was asked."""
        if "auto" not in choice.programs:
            return tuple(program for program in choice.programs if program != "auto"), None
        assert self.router is not None, "`missing` was asked first"
        route = self.router.route(token_ids)
        chosen = route.program or LayerProgram.full(self.support.layers)
        return tuple(chosen if program == "auto" else program for program in choice.programs), route.reason
