"""Every knob of reasonprune, once: request field, TOML, environment, command line and docs table derive from here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from reasonprune.answers.extract import AnswerKind

Effort = Literal["off", "low", "medium", "high"]
DEFAULT_POLICY = "consensus"


class Section(BaseModel):
    """Base of all sections: immutable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PolicyOptions(Section):
    """What every parallel policy takes."""

    policy: str
    n: int = Field(16, ge=1, description="most traces that may be started for one request")
    temperature: float | None = Field(
        None, gt=0, le=2, description="sampling temperature of the traces; unset: the request's own"
    )
    answer: AnswerKind = Field("auto", description="how the answer is found in the text of a trace")

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
        return self.first_wave


PREFIX_ONLY = {"prefix", "words", "clusters", "finish", "fallback", "vote"}
FINISH_ONLY = {"every", "confidence", "divided", "quorum", "patience", "short"}


class DeepPruneOptions(PolicyOptions):
    """Stops traces that a judge expects to end in an answer already present (DeepPrune, arXiv 2510.08483)."""

    policy: Literal["deepprune"] = "deepprune"
    judge: Literal["probe", "llm"] = Field(
        "probe", description="what tells whether two traces will end in the same answer"
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

    @model_validator(mode="after")
    def _only_what_applies(self) -> DeepPruneOptions:
        """Nothing that was asked for may go without effect."""
        other = PREFIX_ONLY if self.when == "finish" else FINISH_ONLY
        if idle := sorted(self.model_fields_set & other):
            moment = "prefix" if self.when == "finish" else "finish"
            raise ValueError(f"{', '.join(idle)} only with when = {moment}, and when is {self.when}")
        return self

    @property
    def first_wave(self) -> int:
        return min(self.start or (self.n if self.when == "prefix" else 6), self.n)

    @property
    def most_at_once(self) -> int:
        return self.first_wave


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
    | Annotated[DeepPruneOptions, Tag("deepprune")],
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
}


class ContextOptions(Section):
    """Removes sentences of tool results and documents that do not help to answer (Provence, arXiv 2501.16214)."""

    threshold: float | None = Field(
        None, ge=0, le=1, description="remove sentences whose probability is not above this; unset: the pruner's own"
    )
    from_characters: int = Field(300, ge=0, description="shorter texts stay as they are")
    user_text: bool = Field(True, description="also long contexts that stand in the user's message itself")
    title: bool = Field(False, description="a document's first sentence stays if any other does")


class Options(Section):
    """The request field `reasonprune`; also a preset, and the server's defaults."""

    effort: Effort | None = Field(None, description="one dial for all techniques; replaces all lower-ranking settings")
    parallel: ParallelOptions | None = Field(None, description="parallel traces; `policy` names the rule")
    context: ContextOptions | None = Field(None, description="prunes contexts before they are read; `{}` for defaults")


class ServerOptions(Section):
    """Limits and habits of the server; not settable by a request."""

    max_n: int = Field(64, ge=1, description="largest `parallel.n` a request may ask for")
    max_live_traces: int = Field(1024, ge=1, description="traces of all parallel requests together; 429 beyond")
    keep_alive_s: float = Field(10.0, gt=0, description="seconds between comment lines while traces compete")
    pruner: str | None = Field(None, description="folder or hub id of a context pruner; unset: the one that ships")


class Settings(Options):
    """A server's whole configuration: its defaults (as `Options`), named presets, and limits."""

    presets: dict[str, Options] = Field(default_factory=dict, description="chosen by `model@name`")
    server: ServerOptions = ServerOptions()


# Medium is what `benchmarks/` reports as `consensus` with its defaults; the others move one step along its frontier.
EFFORTS: dict[Effort, dict[str, Any]] = {
    "off": {},
    "low": {"parallel": {"policy": "consensus", "n": 4}},
    "medium": {"parallel": {"policy": "consensus"}},
    "high": {"parallel": {"policy": "consensus", "n": 32, "start": 16, "threshold": 0.95}},
}
