"""Evidence labelled by an LLM, on the real engine. TinyReasoner cites nothing: what is seen here is that it is asked,
and that what it says is read, counted and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reasonprune.train.evidence import Evidence
from reasonprune.train.label import LabelConfig, discarded, label_with

ASKED = Evidence("Start with 2, add 3. What do you get?", ("Bees fly. ", "Add 3."), (False, False), "g")


async def test_replies_of_the_engine_are_read_and_counted(engine: Any, tmp_path: Path) -> None:
    from reasonprune.engine.backend import EngineBackend

    out, too_long = tmp_path / "labels.jsonl", Evidence("Q?", ("word " * 2000,), (False,), "g")
    counts = await label_with(
        EngineBackend(engine, "test-label"), [ASKED, too_long], out, LabelConfig("tiny", None), lambda *_: None
    )
    assert counts["failed"] == 1
    assert sum(counts.values()) == 2
    [row] = [json.loads(line) for file in (out, discarded(out)) for line in file.read_text().splitlines()]
    assert row["labelled_by"] == "tiny"
    assert row["reply"].strip()
    assert counts[row["outcome"]] == 1
