"""What `/metrics` shows of speculation, and when it stops."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest

from reasonprune.speculative.acceptance import Acceptance, DraftToken
from reasonprune.speculative.metrics import watch
from reasonprune.speculative.tree import Source


class Engine:
    """Answers with the counts of one request, then dies: what a live engine cannot be made to do here."""

    def __init__(self) -> None:
        self.counted = Acceptance()
        drafts = [DraftToken(token, Source.STORE, 2, 1.0, 1, 0.5) for token in (1, 2)]
        self.counted.observe(drafts, 1, 2)
        self.asked = asyncio.Event()

    async def collective_rpc(self, method: str) -> list[dict[str, Any]]:
        assert method == "acceptance"
        if self.asked.is_set():
            raise RuntimeError("the engine is dead")
        self.asked.set()
        return [self.counted.as_json()]


async def test_counts_are_shown_while_the_engine_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasonprune.speculative.metrics.EVERY_S", 0.01)
    engine = Engine()
    task = asyncio.create_task(watch(engine))
    await engine.asked.wait()
    await asyncio.sleep(0)
    shown = generate_latest(REGISTRY).decode()
    assert "reasonprune_speculative_acceptance_length 2.0" in shown
    assert 'reasonprune_speculative_drafted_total{source="store"} 2.0' in shown
    assert 'reasonprune_speculative_accepted_at_total{position="1"} 0.0' in shown
    await asyncio.wait_for(task, 5)
    assert "reasonprune_speculative" not in generate_latest(REGISTRY).decode()


def test_counts_survive_the_way_to_the_frontend() -> None:
    counted = Acceptance()
    counted.observe([DraftToken(1, Source.DRAFT, 1, 1.0, 1, 0.5)], 0, 1)
    counted.merge(Engine().counted)
    assert Acceptance.of(counted.as_json()) == counted
    assert counted.drafted_at == [2, 1]
    assert counted.accepted_at == [1, 0]
