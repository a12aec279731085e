"""Acceptance under `/metrics`, by source and by position, beside vLLM's own `vllm:spec_decode_*`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

logger = logging.getLogger(__name__)

EVERY_S = 5.0


class AcceptanceCollector:
    """Shows the engine's latest counts."""

    def __init__(self) -> None:
        self.counts: dict[str, Any] | None = None

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        counts = self.counts
        if counts is None:
            return
        name = "reasonprune_speculative_"
        yield GaugeMetricFamily(
            name + "acceptance_length", "Mean tokens a verification step", counts["acceptance_length"]
        )
        yield CounterMetricFamily(name + "steps", "Verification steps, counted by request", counts["steps"])
        for kind in ("drafted", "accepted"):
            by_source = CounterMetricFamily(
                name + kind, f"Draft tokens {kind}, by where they came from", None, ["source"]
            )
            for source, count in counts[kind].items():
                by_source.add_metric([source], count)
            yield by_source
            by_position = CounterMetricFamily(
                f"{name}{kind}_at", f"Draft tokens {kind}, by position", None, ["position"]
            )
            for position, count in enumerate(counts[f"{kind}_at"]):
                by_position.add_metric([str(position)], count)
            yield by_position


async def watch(engine: Any) -> None:
    """Keep the metrics up to date while the engine lives."""
    collector = AcceptanceCollector()
    REGISTRY.register(collector)
    try:
        while True:
            counts, *_ = await engine.collective_rpc("acceptance")
            collector.counts = counts
            await asyncio.sleep(EVERY_S)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        logger.warning("Acceptance is no longer shown in /metrics: %s", error)
    finally:
        REGISTRY.unregister(collector)
