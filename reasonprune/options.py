"""Every knob of reasonprune, once: request field, TOML, environment, command line and docs table derive from here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from reasonprune.depth.program import PROGRAM_NAME, parsed
from reasonprune.policy_options import ParallelOptions
from reasonprune.section import Section

Effort = Literal["off", "low", "medium", "high"]


class DepthOptions(Section):
    """Which decoder layers a request runs (CoLa, arXiv 2507.07996)."""

    program: str = Field(
        "auto", description="layers such as `0-9,12-29`, a name from the bank, `full`, or `auto`: the router chooses"
    )
    traces: list[str] | None = Field(
        None, min_length=1, description="programs of parallel traces, in turn; unset: all run `program`"
    )

    @field_validator("program", "traces")
    @classmethod
    def _written_right(cls, value: str | list[str] | None) -> str | list[str] | None:
        for text in [value] if isinstance(value, str) else value or ():
            if not PROGRAM_NAME.fullmatch(text):
                parsed(text)
        return value


class HistoryOptions(Section):
    """Shortens reasoning kept in earlier turns, by first-token surprisal (ASAP, arXiv 2508.05988)."""

    budget: float = Field(
        0.5, gt=0, description="what to keep of each earlier chain of thought: a share up to 1, or tokens above 1"
    )

    @model_validator(mode="after")
    def _whole_tokens(self) -> HistoryOptions:
        if self.budget > 1 and self.budget != int(self.budget):
            raise ValueError(f"budget above 1 is a number of tokens and must be whole, but it is {self.budget:g}")
        return self


class GraphOptions(Section):
    """Paths of a knowledge graph as evidence before the question (Paths-over-Graph, arXiv 2410.14211)."""

    store: str = Field(description="which of the server's graphs (`stores`) to ask")
    topics: list[str] | None = Field(None, description="entities asked about; unset: found in the question")
    max_paths: int = Field(3, ge=1, le=100, description="most paths of the evidence")
    max_answers: int = Field(100, ge=1, le=10_000, description="most answers of `/v1/graph/query`")
    depth: int = Field(3, ge=1, le=5, description="most steps of a path")
    width: int = Field(80, ge=1, le=1000, description="paths kept by similarity, the first step of the beam")
    branches: int = Field(20, ge=1, le=1000, description="paths kept by their branches, the second step of the beam")
    nodes: int = Field(5000, ge=1, description="most entities of one level of a path")
    edges: int = Field(100_000, ge=1, description="most edges read to find out where a level leads")
    seconds: float = Field(30.0, gt=0, description="most seconds of exploring, and again of asking the model")
    llm: bool = Field(False, description="let the served model analyse, choose, check and guess")
    llm_calls: int = Field(9, ge=0, description="most calls of the model for one question")
    llm_tokens: int = Field(1024, ge=0, description="most tokens that the model may generate for one question")


class StoreOptions(Section):
    """Where a graph of the server is: one of `path` and `sparql`."""

    path: str | None = Field(None, description="a file of triples, or a store made by `reasonprune kg load`")
    sparql: str | None = Field(None, description="the URL of a SPARQL 1.1 endpoint")
    timeout_s: float = Field(10.0, gt=0, description="seconds to wait for one answer of the endpoint")

    @model_validator(mode="after")
    def _one_place(self) -> StoreOptions:
        if (self.path is None) == (self.sparql is None):
            raise ValueError("one of path and sparql must be set")
        return self


class ContextOptions(Section):
    """Removes sentences of tool results and documents that do not help to answer (Provence, arXiv 2501.16214)."""

    threshold: float | None = Field(
        None, ge=0, le=1, description="remove sentences whose probability is not above this; unset: the pruner's own"
    )
    from_characters: int = Field(300, ge=0, description="shorter texts stay as they are")
    user_text: bool = Field(True, description="also long contexts that stand in the user's message itself")
    title: bool = Field(False, description="a document's first sentence stays if any other does")


class SpeculativeOptions(Section):
    """Drafts from retrieval, fused with the drafter's and verified, so lossless (RASD, arXiv 2503.03434)."""

    enabled: bool = Field(True, description="draft for this request, on a server that runs speculation")
    tokens: int | None = Field(
        None, ge=1, le=64, description="most tokens of a draft; unset: the server's `num_speculative_tokens`"
    )
    layers: str | None = Field(
        None, description="layers of the model that draft, such as `0-9,20-29` or a name from the bank; all verify"
    )

    @field_validator("layers")
    @classmethod
    def _written_right(cls, value: str | None) -> str | None:
        if value is not None and not PROGRAM_NAME.fullmatch(value):
            parsed(value)
        return value


# What a request may ask for beside parallel traces, each in its own section.
TECHNIQUES: dict[str, type[Section]] = {
    "graph": GraphOptions,
    "context": ContextOptions,
    "history": HistoryOptions,
    "depth": DepthOptions,
    "speculative": SpeculativeOptions,
}


class Options(Section):
    """The request field `reasonprune`; also a preset, and the server's defaults."""

    effort: Effort | None = Field(None, description="one dial for all techniques; replaces all lower-ranking settings")
    parallel: ParallelOptions | None = Field(None, description="parallel traces; `policy` names the rule")
    depth: DepthOptions | None = Field(None, description="layers that are run; lossy")
    history: HistoryOptions | None = Field(None, description="shorten the reasoning that earlier turns kept")
    graph: GraphOptions | None = Field(None, description="evidence from a knowledge graph; `store` names it")
    context: ContextOptions | None = Field(None, description="prunes contexts before they are read; `{}` for defaults")
    speculative: SpeculativeOptions | None = Field(None, description="drafts for one request; lossless")


class ServerOptions(Section):
    """Limits and habits of the server; not settable by a request."""

    max_n: int = Field(64, ge=1, description="largest `parallel.n` a request may ask for")
    max_live_traces: int = Field(1024, ge=1, description="traces of all parallel requests together; 429 beyond")
    datastore: str | None = Field(None, description="folder of a datastore of drafts (`reasonprune datastore build`)")
    datastore_grows: bool = Field(False, description="add finished responses to the datastore, within its bound")
    draft_tokens: int | None = Field(
        None, ge=1, le=64, description="run speculation with drafts of up to so many tokens, without a draft model"
    )
    keep_alive_s: float = Field(10.0, gt=0, description="seconds between comment lines while traces compete")
    depth_slots: int = Field(
        4,
        ge=0,
        le=1024,
        description="layers a program may have beyond the model's; each costs a layer's KV cache",
    )
    depth_bank: str | None = Field(None, description="file of named layer programs, from `reasonprune depth search`")
    depth_router: str | None = Field(None, description="file of the router for `auto`, from `reasonprune train router`")
    pruner: str | None = Field(None, description="folder or hub id of a context pruner; unset: the one that ships")


class Settings(Options):
    """A server's whole configuration: its defaults (as `Options`), named presets, and limits."""

    presets: dict[str, Options] = Field(default_factory=dict, description="chosen by `model@name`")
    stores: dict[str, StoreOptions] = Field(
        default_factory=dict, description="knowledge graphs, chosen by `graph.store`"
    )
    server: ServerOptions = ServerOptions()


# Medium is what `benchmarks/` reports as `consensus` with its defaults; the others move one step along its frontier.
EFFORTS: dict[Effort, dict[str, Any]] = {
    "off": {},
    "low": {"parallel": {"policy": "consensus", "n": 4}},
    "medium": {"parallel": {"policy": "consensus"}},
    "high": {"parallel": {"policy": "consensus", "n": 32, "start": 16, "threshold": 0.95}},
}
