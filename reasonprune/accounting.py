"""What a request cost, what it saved, and why: the `reasonprune` object of a response.

Counts are exact but for `avoided_estimate`, which says how it was estimated. Every action is listed with its reason;
what was asked for and not applied is listed with the reason why not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from reasonprune.cot.history import HistoryReport
from reasonprune.depth.program import LayerProgram
from reasonprune.judges.books import JudgeBooks
from reasonprune.parallel.driver import Outcome, Trace
from reasonprune.selfeval.score import SelfEvalBooks, SelfScore

# Of the table in the documentation: does the technique leave the distribution of answers as it is?
LOSSLESS = {
    "graph": False,
    "context": False,
    "history": False,
    "parallel": False,
    "depth": False,
    "speculative": True,
}
AVOIDED_METHOD = "traces stopped or never started, had each run to the mean length of this request's finished traces"


@dataclass
class Account:
    """Filled in while a request is served; all token counts are of generated tokens."""

    started_at: float = field(default_factory=time.perf_counter)
    generated: int = 0
    returned: int = 0
    lost: int = 0  # of a technique that failed before it had an answer; part of `generated`
    probes: int = 0
    overhead_ms: float = 0.0
    notes: dict[str, str] = field(default_factory=dict)
    not_applied: list[dict[str, str]] = field(default_factory=list)
    parallel: dict[str, Any] | None = None
    depth: dict[str, Any] | None = None
    history: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    speculative: dict[str, Any] | None = None
    graph: dict[str, Any] | None = None

    @contextmanager
    def overhead(self) -> Iterator[None]:
        """Time spent in reasonprune itself, the engine's own work excluded."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.overhead_ms += (time.perf_counter() - began) * 1000

    @property
    def generated_in_all(self) -> int:
        """With what a model wrote before the answer began, to choose among paths of a graph."""
        return self.generated + (self.graph["llm_generated_tokens"] if self.graph is not None else 0)

    def skip(self, technique: str, reason: str) -> None:
        """Record that `technique` was asked for and not applied."""
        self.not_applied.append({"technique": technique, "reason": reason})

    @property
    def applied(self) -> list[str]:
        """The techniques that did what was asked, in the order in which a request meets them."""
        done = {name: section for name in LOSSLESS if (section := getattr(self, name)) is not None}
        return [name for name, section in done.items() if section.get("policy_failure") is None]

    def record_depth(self, programs: Sequence[LayerProgram], layers: int, reason: str | None) -> None:
        """`programs`: of the traces, in turn; `layers`: of the model; `reason`: what a router said."""
        self.depth = {
            "lossless": LOSSLESS["depth"],
            "model_layers": layers,
            "programs": [{"program": str(program), "layers": program.cost} for program in programs],
            **({"reason": reason} if reason else {}),
        }

    def record_parallel(self, policy: str, n: int, outcome: Outcome, tokens: dict[int, int], probe_tokens: int) -> None:
        """`tokens`: generated tokens by trace, those of stopped traces included."""
        self.generated = sum(tokens.values()) + probe_tokens
        self.returned = sum(tokens[trace] for trace in outcome.kept)
        self.probes = probe_tokens
        states = [trace.state for trace in outcome.traces.values()]
        self.parallel = {
            "policy": policy,
            "lossless": LOSSLESS["parallel"],
            "n": n,
            "started": len(states),
            "finished": states.count("finished"),
            "pruned": states.count("pruned"),
            "failed": states.count("failed"),
            "answer": outcome.decision.answer,
            "votes": outcome.decision.votes,
            "chosen": list(outcome.kept),
            "reason": outcome.decision.reason,
            "decided_after_ms": round(outcome.decided_at, 1),
            "policy_failure": outcome.failure,
            "traces": [_trace(trace, tokens[trace.index]) for trace in outcome.traces.values()],
        }
        lengths = [tokens[t.index] for t in outcome.traces.values() if t.state == "finished"]
        if lengths:
            mean = sum(lengths) / len(lengths)
            stopped = [tokens[t.index] for t in outcome.traces.values() if t.state == "pruned"]
            avoided = sum(max(0.0, mean - length) for length in stopped) + mean * max(0, n - len(states))
            self.parallel["avoided_estimate"] = {"tokens": round(avoided), "method": AVOIDED_METHOD}

    def record_history(self, budget: float, report: HistoryReport) -> None:
        """Earlier reasoning that was shortened before prefill; prompt tokens, so not part of `generated`."""
        self.history = {
            "lossless": LOSSLESS["history"],
            "budget": budget,
            "prompt_tokens_saved": report.prompt_tokens_saved,
            "ms": round(report.ms, 3),
            "turns": report.turns,
        }

    def record_judge(self, name: str, books: JudgeBooks) -> None:
        """What judging cost; a judge that failed was asked for and not applied to the end."""
        assert self.parallel is not None, "the race is recorded first"
        self.parallel["judge"] = {
            "name": name,
            "rounds": books.rounds,
            "pairs": books.pairs,
            "generated_tokens": books.generated,
            "prompt_tokens": books.prompted,
            "ms": round(books.ms, 1),
        }
        if books.failure is not None:
            self.skip("parallel.judge", f"{books.failure}; the policy went on by finished traces alone")

    def record_self_eval(self, kind: str, books: SelfEvalBooks) -> None:
        """What self-evaluation said and cost; where it failed it was asked for and not applied to the end."""
        assert self.parallel is not None, "the race is recorded first"
        chosen = books.last.get(self.parallel["chosen"][0])
        self.parallel["score"] = _score(chosen)["score"] if chosen else None
        self.parallel["self_eval"] = {
            "kind": kind,
            "rounds": books.rounds,
            "checks": books.checks,
            "generated_tokens": books.generated,
            "prompt_tokens": books.prompted,
            "ms": round(books.ms, 1),
        }
        for trace in self.parallel["traces"]:
            if score := books.last.get(trace["trace"]):
                trace |= _score(score)
        if books.failure is not None:
            self.skip("parallel.self_eval", f"{books.failure.rstrip('.')}; all traces voted with equal weight")
        elif books.unsound:
            self.skip("parallel.self_eval", f"{books.unsound} of {books.checks} scores were not numbers from 0 to 1")

    def record_speculation(self, counts: dict[str, Any]) -> None:
        """`counts`: `Acceptance.as_json` of all of the request's traces."""
        self.speculative = {"lossless": LOSSLESS["speculative"], **counts}

    def as_json(self) -> dict[str, Any]:
        return {
            "applied": self.applied,
            "not_applied": self.not_applied,
            "tokens": {"generated": self.generated_in_all, "returned": self.returned, "probes": self.probes},
            "ms": {
                "total": round((time.perf_counter() - self.started_at) * 1000, 1),
                "overhead": round(self.overhead_ms, 3),
            },
            **({"notes": self.notes} if self.notes else {}),
            **{name: section for name in LOSSLESS if (section := getattr(self, name)) is not None},
        }


def _trace(trace: Trace, tokens: int) -> dict[str, Any]:
    return {
        "trace": trace.index,
        "state": trace.state,
        "tokens": tokens,
        "answer": trace.answer,
        **({"temperature": trace.temperature} if trace.temperature is not None else {}),
        **({"reason": trace.reason} if trace.reason else {}),
        "ended_after_ms": round(trace.ended_at, 1) if trace.ended_at is not None else None,
    }


def _score(score: SelfScore) -> dict[str, float]:
    """Of the trace as it was when it was last evaluated."""
    found = {"score": score.value, "unbeaten": score.unbeaten, "remaining": score.remaining}
    return {name: round(value, 4) for name, value in found.items() if value is not None}
