"""Every knob of reasonprune, once: request field, TOML, environment, command line and docs table derive from here."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from reasonprune.answers.extract import AnswerKind
from reasonprune.depth.program import PROGRAM_NAME, parsed

Effort = Literal["off", "low", "medium", "high"]
DEFAULT_POLICY = "consensus"


class Section(BaseModel):
    """Base of all sections: immutable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Needs = dict[str, tuple[str, tuple[str, ...]]]
"""Settings that have an effect only where another one has one of these values: setting -> (other one, values)."""


class PolicyOptions(Section):
    """What every parallel policy takes."""

    needs: ClassVar[Needs] = {}
    policy: str
    n: int = Field(16, ge=1, description="most traces that may be started for one request")
    temperature: float | None = Field(
        None, gt=0, le=2, description="sampling temperature of the traces; unset: the request's own"
    )
    answer: AnswerKind = Field("auto", description="how the answer is found in the text of a trace")

    @model_validator(mode="after")
    def _only_what_applies(self) -> Self:
        """Nothing that was asked for may go without effect."""
        idle: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for setting, (on, values) in self.needs.items():
            if getattr(self, on) not in values and getattr(self, setting) != type(self).model_fields[setting].default:
                idle.setdefault((on, values), []).append(setting)
        for (on, values), settings in idle.items():
            wanted = " or ".join(values)
            raise ValueError(
                f"{', '.join(sorted(settings))} only with {on} = {wanted}, and {on} is {getattr(self, on)}"
            )
        return self

    @property
    def most_at_once(self) -> int:
        """Most traces that run at the same time."""
        return self.n


class SelfConsistencyOptions(PolicyOptions):
    """All `n` traces to the end, then a majority vote (Wang et al., arXiv 2203.11171)."""

    policy: Literal["self_consistency"] = "self_consistency"


class AdaptiveConsistencyOptions(PolicyOptions):
    """One trace after the other until the leading answer is safe (Aggarwal et al., arXiv 2305.11860)."""

    policy: Literal["adaptive_consistency"] = "adaptive_consistency"
    threshold: float = Field(0.95, gt=0.5, lt=1, description="stop at this posterior that the leader beats the rest")

    @property
    def most_at_once(self) -> int:
        return 1


class EscOptions(PolicyOptions):
    """Windows of traces, one window after the other, until one is unanimous (Li et al., arXiv 2401.10480)."""

    policy: Literal["esc"] = "esc"
    window: int = Field(5, ge=2, description="traces per window")

    @property
    def most_at_once(self) -> int:
        return min(self.window, self.n)


class DeepConfOptions(PolicyOptions):
    """Stops traces whose confidence falls below the bar set by warm-up traces (Fu et al., arXiv 2508.15260)."""

    policy: Literal["deepconf"] = "deepconf"
    mode: Literal["low", "high"] = Field("high", description="`low` keeps the best 10% of traces, `high` 90%")
    warmup: int = Field(16, ge=1, description="traces that run to the end and set the bar")
    window: int = Field(2048, ge=1, description="tokens per sliding window of confidence")
    threshold: float = Field(0.95, gt=0.5, le=1, description="stop at this share of the confidence-weighted vote")

    @property
    def most_at_once(self) -> int:
        warmup = min(self.warmup, self.n)
        return max(warmup, self.n - warmup)


class ParallelProbeOptions(PolicyOptions):
    """Forces answers while traces run; stops at a stable majority (Parallel-Probe, arXiv 2602.03845)."""

    policy: Literal["parallel_probe"] = "parallel_probe"
    every: int = Field(500, ge=1, description="tokens between two probes of a trace")
    stable: int = Field(40, ge=1, description="stop when the majority stayed the same this many rounds")
    patience: int = Field(7, ge=1, description="stop a trace that disagreed this many rounds in a row")
    warmup: int = Field(15, ge=0, description="rounds before any trace is stopped")
    probe_tokens: int = Field(16, ge=1, description="most tokens of a probed answer")


class ConsensusOptions(PolicyOptions):
    """Counts answers in order of finishing; stops all others once the leader is safe."""

    policy: Literal["consensus"] = "consensus"
    start: int | None = Field(None, ge=1, description="traces started at once; unset: 8, or n where that is less")
    threshold: float = Field(
        0.88, gt=0.5, lt=1, description="stop at this posterior that the leader beats the runner-up"
    )
    quorum: float = Field(
        0.8, gt=0, le=1, description="share of the first wave after whose ending the leader wins, however close"
    )
    short: int = Field(
        1024, ge=0, description="where no trace is longer than this many tokens, undecided races start up to n instead"
    )

    @property
    def first_wave(self) -> int:
        return min(self.start or 8, self.n)

    @property
    def most_at_once(self) -> int:
        return max(self.first_wave, self.n // 2)


class DeepPruneOptions(PolicyOptions):
    """Stops traces that a judge expects to end in an answer already present (DeepPrune, arXiv 2510.08483)."""

    needs: ClassVar[Needs] = {
        **dict.fromkeys(("prefix", "words", "clusters", "finish", "fallback", "vote"), ("when", ("prefix",))),
        **dict.fromkeys(("every", "confidence", "divided", "quorum", "patience", "short"), ("when", ("finish",))),
        "judge_model": ("judge", ("encoder", "cosine")),
        "probe_tokens": ("judge", ("probe",)),
    }
    policy: Literal["deepprune"] = "deepprune"
    judge: Literal["probe", "encoder", "llm", "cosine"] = Field(
        "probe", description="what tells whether two traces will end in the same answer"
    )
    judge_model: str | None = Field(
        None, description="`encoder`: folder of a trained head; `cosine`: sentence encoder; unset: what is shipped"
    )
    judge_ms: float = Field(10_000, gt=0, description="most milliseconds to spend on judging; then without a judge")
    when: Literal["finish", "prefix"] = Field(
        "finish", description="judge whenever a trace has ended, or all traces once at `prefix` tokens (the paper)"
    )
    start: int | None = Field(None, ge=1, description="traces started at once; unset: 6, or n with `prefix`")
    threshold: float = Field(0.5, ge=0, lt=1, description="alike above this mean similarity (the paper's tau)")
    comparisons: int = Field(10, ge=1, description="most members of a cluster to compare with (K1)")
    prefix: int = Field(500, ge=1, description="tokens that are judged; also when, with `prefix`")
    words: int | None = Field(None, ge=1, description="judge up to this reasoning word instead (the paper: 25)")
    clusters: int = Field(32, ge=1, description="`prefix`: most clusters (K)")
    finish: int = Field(20, ge=1, description="`prefix`: most traces to finish after judging (K2)")
    fallback: int = Field(20, ge=1, description="`prefix`: traces to finish where none are alike (K3)")
    vote: Literal["weighted", "largest"] = Field(
        "weighted", description="`prefix`: all clusters vote with their size, or the largest alone (the paper)"
    )
    every: int = Field(1000, ge=1, description="`finish`: tokens between two judgements once a trace has ended")
    confidence: float = Field(
        0.77, gt=0.5, lt=1, description="`finish`: posterior that the leader beats the runner-up, for it to be safe"
    )
    divided: int = Field(3, ge=2, description="`finish`: the first of this many answers wins where all differ")
    quorum: float = Field(0.7, gt=0, le=1, description="`finish`: share of the traces after whose ending the lead wins")
    patience: float = Field(2.0, ge=1, description="`finish`: wait at most this many times the first trace's length")
    short: int = Field(1024, ge=0, description="`finish`: where no trace is longer, undecided races start up to n")
    probe_tokens: int = Field(16, ge=1, description="`probe`: most tokens of a forced answer")

    @property
    def first_wave(self) -> int:
        return min(self.start or (self.n if self.when == "prefix" else 6), self.n)

    @property
    def most_at_once(self) -> int:
        return max(self.first_wave, self.n // 2 if self.when == "finish" else 0)


def doubling(n: int) -> list[int]:
    """1, 1, 2, 4, 8, ...: each wave as large as all before it; the last is cut so that the sum is `n`."""
    sizes, started = [], 0
    while started < n:
        sizes.append(min(max(1, started), n - started))
        started += sizes[-1]
    return sizes


class BestOfNOptions(PolicyOptions):
    """Samples until the model itself expects no better from a fresh one (Manvi et al., arXiv 2410.02725)."""

    needs: ClassVar[Needs] = {"self_eval_model": ("self_eval", ("adapter", "head"))}
    policy: Literal["best_of_n"] = "best_of_n"
    threshold: float = Field(
        0.9, gt=0, le=1, description="stop once a finished trace is this sure that a fresh one would do no better"
    )
    self_eval: Literal["verbal", "adapter", "head"] = Field(
        "verbal", description="how the model evaluates itself: a question, the same with a trained LoRA, a value head"
    )
    self_eval_model: str | None = Field(
        None, description="`adapter`, `head`: folder of the trained one; unset: the one found for this model"
    )
    self_eval_ms: float = Field(10_000, gt=0, description="most milliseconds to spend on checks; then without scores")
    waves: Literal["doubling", "single", "all"] = Field(
        "doubling", description="traces started together: 1, 1, 2, 4, 8, ..., one after the other, or all n"
    )
    anneal: bool = Field(True, description="trace k (from 0) at 1 - 2^-k of the temperature, so the first is greedy")
    prune_at: list[int] = Field(
        default_factory=list, description="tokens at which all but the best running traces of a wave are stopped"
    )
    keep: float = Field(0.5, gt=0, le=1, description="`prune_at`: share of the running traces that goes on")
    select: Literal["score", "majority", "weighted"] = Field(
        "weighted", description="by the best score, by majority, or by a majority weighted with scores"
    )

    @model_validator(mode="after")
    def _lengths(self) -> BestOfNOptions:
        if any(at < 1 for at in self.prune_at):
            raise ValueError(f"prune_at holds {min(self.prune_at)}; lengths are 1 token or more")
        if self.keep != 0.5 and not self.prune_at:
            raise ValueError("keep only with prune_at, and prune_at is empty")
        return self

    @property
    def wave_sizes(self) -> list[int]:
        return {"doubling": doubling(self.n), "single": [1] * self.n, "all": [self.n]}[self.waves]

    @property
    def most_at_once(self) -> int:
        return max(self.wave_sizes)


def _policy_of(value: Any) -> str | None:
    policy = value.get("policy", DEFAULT_POLICY) if isinstance(value, dict) else getattr(value, "policy", None)
    return policy if isinstance(policy, str) else None


ParallelOptions = Annotated[
    Annotated[SelfConsistencyOptions, Tag("self_consistency")]
    | Annotated[AdaptiveConsistencyOptions, Tag("adaptive_consistency")]
    | Annotated[EscOptions, Tag("esc")]
    | Annotated[DeepConfOptions, Tag("deepconf")]
    | Annotated[ParallelProbeOptions, Tag("parallel_probe")]
    | Annotated[ConsensusOptions, Tag("consensus")]
    | Annotated[DeepPruneOptions, Tag("deepprune")]
    | Annotated[BestOfNOptions, Tag("best_of_n")],
    Discriminator(_policy_of),
]
POLICY_OPTIONS: dict[str, type[PolicyOptions]] = {
    "self_consistency": SelfConsistencyOptions,
    "adaptive_consistency": AdaptiveConsistencyOptions,
    "esc": EscOptions,
    "deepconf": DeepConfOptions,
    "parallel_probe": ParallelProbeOptions,
    "consensus": ConsensusOptions,
    "deepprune": DeepPruneOptions,
    "best_of_n": BestOfNOptions,
}


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
