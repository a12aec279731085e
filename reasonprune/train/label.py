"""`reasonprune train pruner-labels`: evidence for the context pruner, labelled by an LLM that cites sentences.

Written are JSON Lines that `reasonprune train pruner` reads, and beside them, under `.discarded.jsonl`, what was left
out with the reply that was the reason. A run goes on where the one before stopped.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reasonprune.engine.upstream import Server
from reasonprune.errors import DataError, ReasonpruneError, RequestError
from reasonprune.lines import whole_lines
from reasonprune.train.citations import prompt, read_reply
from reasonprune.train.evidence import Evidence, read_questions

MAX_TOKENS = 256
FAILED = "failed"


class Writer(Protocol):
    """A model that writes, such as `LocalBackend` and `UpstreamBackend`."""

    async def write(self, messages: Any, max_tokens: int, temperature: float) -> str:
        """The assistant's next turn."""


@dataclass(frozen=True)
class LabelConfig:
    """Who labels: a local `model`, or the server at `upstream`."""

    model: str | None
    upstream: Server | None
    concurrency: int = 8

    def __post_init__(self) -> None:
        if (self.model is None) == (self.upstream is None):
            raise RequestError("Name what labels: either a model (--model) or a server (--upstream).", "model")
        if self.concurrency < 1:
            raise RequestError(f"--concurrency is {self.concurrency}; give at least 1.", "concurrency")

    @property
    def labeller(self) -> str:
        """As it is written beside each label."""
        return self.model or (self.upstream.model if self.upstream else None) or "upstream"


def label_file(
    data: Path, out: Path, config: LabelConfig, limit: int | None, progress: Callable[[int, int], None]
) -> dict[str, int]:
    """Labels what `out` does not hold yet; returns how many replies of this run had which outcome.

    A question that cannot be asked (its server fails, or it is too long for the model) counts as `failed`, is not
    written, and is asked again by the next run.

    Raises:
        DataError: the data cannot be read, or `out` was labelled by another model or is no such file.
        ReasonpruneError: not one question could be asked; the error of the last.
    """
    counts = asyncio.run(_label(data, out, config, limit, progress))
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart
    return counts


async def _label(
    data: Path, out: Path, config: LabelConfig, limit: int | None, progress: Callable[[int, int], None]
) -> dict[str, int]:
    examples = read_questions(data)[:limit]
    if not unlabelled(examples, out, config.labeller):
        progress(len(examples), len(examples))
        return {}
    async with AsyncExitStack() as stack:
        writer: Any
        if config.model is not None:
            from reasonprune.engine.backend import LocalBackend

            writer = await stack.enter_async_context(LocalBackend(config.model))
        else:
            from reasonprune.cot.upstream import UpstreamBackend

            assert config.upstream is not None
            writer = await stack.enter_async_context(UpstreamBackend(*config.upstream))
        return await label_with(writer, examples, out, config, progress)


async def label_with(
    writer: Writer, examples: list[Evidence], out: Path, config: LabelConfig, progress: Callable[[int, int], None]
) -> dict[str, int]:
    """`label_file` with a model that runs already."""
    todo = unlabelled(examples, out, config.labeller)
    counts: Counter[str] = Counter()
    gate, total = asyncio.Semaphore(config.concurrency), len(examples)
    last: ReasonpruneError | None = None
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as kept, discarded(out).open("a", encoding="utf-8") as dropped:

        async def one(example: Evidence) -> None:
            nonlocal last
            async with gate:
                try:
                    asked = [{"role": "user", "content": prompt(example.question, example.sentences)}]
                    reply = await writer.write(asked, MAX_TOKENS, 0.0)
                except ReasonpruneError as error:
                    last = error
                    counts[FAILED] += 1
                    return
            found = read_reply(reply, len(example.sentences))
            counts[found.outcome] += 1
            row: dict[str, Any] = {}
            if found.labels is not None:
                row = {"question": example.question, "sentences": example.sentences, "labels": found.labels}
                row["group"] = example.group
            row |= {"id": identity(example), "labelled_by": config.labeller, "reply": reply, "outcome": found.outcome}
            file = dropped if found.labels is None else kept
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            progress(total - len(todo) + counts.total(), total)

        async with asyncio.TaskGroup() as group:
            for example in todo:
                group.create_task(one(example))
    if last is not None and counts.total() == counts[FAILED]:
        raise last
    return dict(counts)


def unlabelled(examples: list[Evidence], out: Path, labeller: str) -> list[Evidence]:
    """What neither `out` nor the file of what was discarded holds; each question with its context once."""
    done: set[str] = set()
    for file in (out, discarded(out)):
        for number, line in enumerate(whole_lines(file), 1):
            try:
                row = json.loads(line)
                name, by = row["id"], row["labelled_by"]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{file}, line {number} was not written by this command ({error!r}).") from None
            if by != labeller:
                raise DataError(f"{file} was labelled by {by}, not by {labeller}; choose another --out.")
            done.add(name)
    return [one for name, one in {identity(example): example for example in examples}.items() if name not in done]


def discarded(out: Path) -> Path:
    return out.with_name(out.name.removesuffix(".jsonl") + ".discarded.jsonl")


def identity(example: Evidence) -> str:
    """Of a question with its context."""
    return hashlib.sha256(json.dumps([example.question, *example.sentences]).encode()).hexdigest()[:16]
