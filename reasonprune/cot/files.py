"""`reasonprune compress`: a JSON Lines file of chats, its chains of thought shortened. Resumable line by line."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from reasonprune.answers import equivalent, extract_answer
from reasonprune.cot.anchor import written_route
from reasonprune.cot.backends import Backend, NoBackend, scores_of
from reasonprune.cot.chats import Found, chains_in
from reasonprune.cot.compressor import METHODS, Compression, Method, budget_tokens, compress
from reasonprune.cot.iterative import compress_iteratively
from reasonprune.cot.upstream import UpstreamBackend
from reasonprune.engine.upstream import Server
from reasonprune.errors import PoolError, ReasonpruneError, RequestError, ScoreError
from reasonprune.lines import whole_lines

NOTHING_FOUND = "no chain of thought was found in this row"
REPORT = "reasonprune"


@dataclass(frozen=True)
class CompressConfig:
    """How a file is compressed; what a run that goes on must have in common with the one before."""

    budget: float
    method: Method = "asap"
    anchor: Literal["visible", "llm"] = "visible"
    iterative: bool = False
    gate: bool = False
    marked_only: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        budget_tokens(self.budget, 1)
        if self.method not in METHODS:
            raise RequestError(f"--method {self.method} does not exist. Methods: {', '.join(METHODS)}.", "method")
        if self.anchor not in ("visible", "llm"):
            raise RequestError(f"--anchor {self.anchor} does not exist. Anchors: visible, llm.", "anchor")
        if self.anchor == "llm" and self.method != "asap":
            raise RequestError(f"--anchor llm has no effect with --method {self.method}; use asap.", "anchor")
        if self.iterative and self.method not in ("asap", "first_token_only", "perplexity"):
            raise RequestError(f"--iterative has no effect with --method {self.method}.", "iterative")


@dataclass
class Totals:
    """Of the rows of one run: chains shortened, and their tokens before and after."""

    rows: int = 0
    chains: int = 0
    unchanged: int = 0
    before: int = 0
    after: int = 0
    resumed: int = 0


def compress_file(
    file: Path,
    out: Path,
    config: CompressConfig,
    model: str | None,
    upstream: Server | None,
    workers: int,
    progress: Callable[[int, int], None],
) -> Totals:
    """Writes `file` to `out`, row by row in order, each with a report under `reasonprune`.

    `upstream`: a server that scores. `workers`: rows under way at once.

    Raises:
        PoolError: a line is not a JSON object, or `out` was written with other settings or from another file.
        ScoreError: a chain cannot be scored; the message names the line. What was done stays in `out`.
    """
    if model and upstream:
        raise RequestError("--model and --upstream both name what scores the chains; leave one out.", "model")
    lines = _lines(file)
    done = _resume(out, lines, config)
    progress(done, len(lines))
    totals = Totals(resumed=done)
    if done < len(lines):
        out.parent.mkdir(parents=True, exist_ok=True)
        asyncio.run(_run(lines, done, out, config, model, upstream, workers, totals, progress))
    return totals


def _lines(file: Path) -> list[str]:
    try:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise PoolError(f"{file} cannot be read: {error}.") from None
    if not lines:
        raise PoolError(f"{file} holds no rows.")
    return lines


def _resume(out: Path, lines: list[str], config: CompressConfig) -> int:
    """How many rows of `out` are done; a half-written last line (an interrupted run) is cut off."""
    rows = whole_lines(out)
    if not rows:
        return 0
    try:
        report = json.loads(rows[-1])[REPORT]
        same = report["settings"] == asdict(config) and report["source"] == _digest(lines[len(rows) - 1])
    except (ValueError, KeyError, TypeError, IndexError):
        same = False
    if not same:
        raise PoolError(f"{out} was not written from these rows with these settings; choose another --out.")
    return len(rows)


def _digest(line: str) -> str:
    return hashlib.sha256(line.strip().encode()).hexdigest()[:16]


async def _run(
    lines: list[str],
    done: int,
    out: Path,
    config: CompressConfig,
    model: str | None,
    upstream: Server | None,
    workers: int,
    totals: Totals,
    progress: Callable[[int, int], None],
) -> None:
    async with AsyncExitStack() as stack:
        backend: Backend = NoBackend()
        if model is not None:
            from reasonprune.engine.backend import LocalBackend

            backend = await stack.enter_async_context(LocalBackend(model))
        elif upstream is not None:
            backend = await stack.enter_async_context(UpstreamBackend(*upstream))
        with out.open("a", encoding="utf-8") as writing:
            for start in range(done, len(lines), workers):
                part = range(start, min(start + workers, len(lines)))
                rows = await asyncio.gather(
                    *(compress_line(lines[i], i + 1, config, backend) for i in part), return_exceptions=True
                )
                for row in rows:  # what came before a failure is kept
                    if isinstance(row, BaseException):
                        raise row
                    _count(row[REPORT], totals)
                    writing.write(json.dumps(row, ensure_ascii=False) + "\n")
                writing.flush()
                progress(part.stop, len(lines))


def _count(report: dict[str, Any], totals: Totals) -> None:
    totals.rows += 1
    for chain in report["chains"]:
        totals.chains += 1
        totals.unchanged += chain["tokens"]["before"] == chain["tokens"]["after"]
        totals.before += chain["tokens"]["before"]
        totals.after += chain["tokens"]["after"]


async def compress_line(line: str, number: int, config: CompressConfig, backend: Backend) -> dict[str, Any]:
    """One row with its chains shortened and the report of each. Raises with the line's number."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise PoolError(f"Line {number} is not JSON ({error}).") from None
    if not isinstance(row, dict):
        raise PoolError(f"Line {number} is not an object.")
    chains = chains_in(row, config.marked_only)
    reports = []
    for index, found in enumerate(chains):
        try:
            reports.append(await compress_found(found, config, backend, f"line {number}", 1000 * number + index))
        except ReasonpruneError as error:
            if f"line {number}:" in error.message:
                raise
            raise type(error)(f"line {number}: {error.message}", error.param) from None
    row[REPORT] = {
        "source": _digest(line),
        "settings": asdict(config),
        "chains": reports,
        **({} if reports else {"not_applied": NOTHING_FOUND}),
    }
    return row


async def compress_found(
    found: Found, config: CompressConfig, backend: Backend, where: str, seed: int
) -> dict[str, Any]:
    """Shortens one chain in its place and reports what was left out; raises ScoreError where it cannot be scored."""
    chain = found.chain
    scores = await scores_of(found, backend, where)
    route, not_applied = None, list[dict[str, str]]()
    if config.anchor == "llm":
        reason = "no attempt was a true extract of the chain"
        try:
            route = await written_route(chain, backend)
        except ScoreError as error:
            reason = error.message
        if route is None:
            reason += "; the visible answer was the anchor instead"
            not_applied.append({"technique": "anchor.llm", "reason": reason})
    if config.iterative:

        async def score(text: str) -> Any:
            return await backend.score(found.messages, found.opening, text)

        result = await compress_iteratively(chain, score, config.budget, config.method, route, scores)
    else:
        # Comparing long texts takes a while, and servers have other requests to serve.
        result = await asyncio.to_thread(
            compress, chain, scores, config.budget, config.method, config.seed + seed, route
        )
    report = result.as_json(chain.text)
    if config.gate and result.text != chain.text and not await _same_answer(found, result, backend):
        reason = "the model does not give the same answer from the shortened chain; the chain stays whole"
        not_applied.append({"technique": "compression", "reason": reason})
        report |= {"tokens": {**report["tokens"], "after": result.tokens}, "kept": 1.0, "removed": []}
        report["steps"]["after"] = report["steps"]["before"]
    else:
        found.put(result.text)
    return {**report, **({"not_applied": not_applied} if not_applied else {})}


async def _same_answer(found: Found, result: Compression, backend: Backend) -> bool:
    """The gate: whether the model, given the shortened chain, answers as the full chain did."""
    full = extract_answer(found.chain.anchor) or extract_answer(found.chain.text)
    given = await backend.answer(found.messages, found.opening + result.text)
    return full is not None and given is not None and equivalent(full, given)
