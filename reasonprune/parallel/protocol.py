"""What passes between a policy and its driver: events in, actions out.

A policy is pure: it does no I/O, knows no clock, and its only state is what the events told it. The same policy object
runs live on vLLM and in replay of recorded traces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reasonprune.selfeval.score import SelfScore


@dataclass(frozen=True, slots=True)
class Grew:
    """A trace reached `tokens` generated tokens; `confidences` are those of the tokens since the last event.

    The confidence of a token is the negative mean log-probability of the 20 likeliest tokens in its place (DeepConf).
    """

    trace: int
    tokens: int
    confidences: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """A trace ended by itself. `answer` is its equivalence class, None where no answer was found."""

    trace: int
    tokens: int
    answer: str | None
    confidences: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Probed:
    """The answer that a trace gave when it was forced to answer at `tokens` tokens."""

    trace: int
    tokens: int
    answer: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine could not go on with a trace."""

    trace: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Judged:
    """How likely the traces of each pair end in the same answer, 0 to 1. With a `failure` there are none."""

    similarities: Mapping[tuple[int, int], float]
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The scores of the `traces` that were asked about, as they then were; those without one are left out.

    Answers come in any order. With a `failure` there are no scores, and there will be none.
    """

    traces: tuple[int, ...]
    scores: Mapping[int, SelfScore]
    failure: str | None = None


TraceEvent = Grew | Finished | Probed | Failed
Event = TraceEvent | Judged | Evaluated


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start one more trace. Traces are numbered from 0 in order of spawning."""

    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Prune:
    """Stop a trace for good."""

    trace: int
    reason: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Force an answer from a running trace, which goes on meanwhile; answered by `Probed`."""

    trace: int


@dataclass(frozen=True, slots=True)
class Judge:
    """Ask how likely the traces of each pair, as far as they have come, end in the same answer; see `Judged`."""

    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Ask the self-evaluation about traces, as far as they have come; answered by `Evaluated`, also of ended ones."""

    traces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Decide:
    """End of the race: all traces still running are stopped.

    `ranking` holds traces from best to worst. Where the best has not finished it runs on to its end, unless `forced`:
    then its last probed answer closes it.
    """

    ranking: tuple[int, ...]
    reason: str
    answer: str | None = None
    votes: dict[str, float] = field(default_factory=dict)
    forced: bool = False


Action = Spawn | Prune | Probe | Judge | Evaluate | Decide


@dataclass(frozen=True, slots=True)
class Signals:
    """What a policy wants to be told: growth at every `every` tokens (0: never), with or without confidences."""

    every: int = 0
    confidences: bool = False
    probes: bool = False
    judges: bool = False
    evaluates: bool = False


class Policy(Protocol):
    """Maps events to actions. Calls come in order: `begin` once, `on` for each event, until it returns `Decide`."""

    @property
    def signals(self) -> Signals: ...

    def begin(self) -> list[Action]: ...

    def on(self, event: Event) -> list[Action]: ...

    def conclude(self) -> Decide:
        """The decision once every trace has ended, nothing new was spawned and no self-evaluation is awaited."""
        ...
