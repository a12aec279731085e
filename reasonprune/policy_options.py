"""The options of the parallel policies, told apart by their `policy`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from reasonprune.answers.extract import AnswerKind
from reasonprune.section import Section

DEFAULT_POLICY = "consensus"
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


def _named(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """One message for what is neither; else a union's has one for each of its types, under names of pydantic's own."""
    try:
        return handler(value)
    except ValidationError:
        raise ValueError(
            f"it is {value}; a share is greater than 0 and at most 1, one number for all lengths or a list of one each"
        ) from None


Share = Annotated[float, Field(gt=0, le=1)]
Shares = Annotated[Share | list[Share], WrapValidator(_named)]


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
    keep: Shares = Field(
        0.5, description="`prune_at`: share of the running traces that goes on, or one for each length"
    )
    select: Literal["score", "majority", "weighted"] = Field(
        "weighted", description="by the best score, by majority, or by a majority weighted with scores"
    )

    @model_validator(mode="after")
    def _lengths(self) -> BestOfNOptions:
        if any(at < 1 for at in self.prune_at):
            raise ValueError(f"prune_at holds {min(self.prune_at)}; lengths are 1 token or more")
        if isinstance(self.keep, list) and len(self.keep) != len(self.prune_at):
            raise ValueError(
                f"keep holds {len(self.keep)} shares and prune_at {len(self.prune_at)} lengths; give one share for each"
                " length, or one number for all"
            )
        if self.keep != 0.5 and not self.prune_at:
            raise ValueError("keep only with prune_at, and prune_at is empty")
        return self

    @property
    def prunings(self) -> dict[int, float]:
        """The share of the running traces that goes on at each length, the shortest first."""
        shares = self.keep if isinstance(self.keep, list) else [self.keep] * len(self.prune_at)
        return dict(sorted(zip(self.prune_at, shares, strict=True)))

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
