"""Prometheus metrics, beside vLLM's own under `/metrics`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from reasonprune.accounting import Account


class Metrics:
    """One set a process."""

    def __init__(self) -> None:
        self.requests = Counter("reasonprune_requests", "Requests answered by parallel traces", ["policy"])
        self.traces = Counter("reasonprune_traces", "Traces by how they ended", ["state"])
        self.tokens = Counter("reasonprune_tokens", "Tokens of parallel requests", ["kind"])
        self.failures = Counter("reasonprune_failures", "Techniques that failed and were skipped", ["technique"])
        self.history_tokens = Counter("reasonprune_history_tokens", "Prompt tokens of earlier reasoning left out")
        self.overhead = Histogram(
            "reasonprune_overhead_seconds",
            "Time added to a request by reasonprune itself",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5),
        )
        self.context = Counter("reasonprune_context_characters", "Characters of contexts that were pruned", ["what"])
        self.live_traces = Gauge("reasonprune_live_traces", "Traces admitted for the requests now in flight")

    def record(self, account: Account) -> None:
        """Count one parallel request that has ended."""
        parallel = account.parallel
        if parallel is None:
            return
        self.requests.labels(parallel["policy"]).inc()
        for state in ("finished", "pruned", "failed"):
            self.traces.labels(state).inc(parallel[state])
        self.tokens.labels("generated").inc(account.generated)
        self.tokens.labels("returned").inc(account.returned)
        self.tokens.labels("probe").inc(account.probes)
        self.overhead.observe(account.overhead_ms / 1000)


METRICS = Metrics()
