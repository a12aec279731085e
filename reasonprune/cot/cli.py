"""The commands of ASAP: `compress`, `bench cot`, `train cot`."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table

from reasonprune.terminal import progress_bar

Model = Annotated[str, typer.Option(help="short name, path or Hugging Face id")]
Out = Annotated[Path, typer.Option("--json", help="where the result goes")]
Limit = Annotated[int | None, typer.Option(help="only the first questions")]
Seed = Annotated[int, typer.Option(help="of everything random in this run")]


def mount(app: typer.Typer, bench: typer.Typer, train: typer.Typer) -> None:
    """Adds the commands to those of `reasonprune`."""
    app.command("compress")(compress_command)
    bench.command("cot")(bench_command)
    train.command("cot")(train_command)
    train.command("verbose")(verbose_command)


def compress_command(
    file: Annotated[Path, typer.Argument(help="JSON Lines of chats or of questions with reasoning")],
    budget: Annotated[float, typer.Option(help="share of each chain's tokens to keep (up to 1), or tokens (above 1)")],
    out: Annotated[
        Path | None, typer.Option(help="unset: beside FILE, as .compressed.jsonl; goes on where it stopped")
    ] = None,
    model: Annotated[str | None, typer.Option(help="scores the chains here: short name, path or hub id")] = None,
    upstream: Annotated[
        str | None, typer.Option(help="scores them instead: URL of an OpenAI-compatible server")
    ] = None,
    upstream_model: Annotated[str | None, typer.Option(help="unset: the first that the server lists")] = None,
    method: Annotated[str, typer.Option(help="what chooses the steps")] = "asap",
    anchor: Annotated[str, typer.Option(help="visible: the answer in the row; llm: a route that the model writes")] = (
        "visible"
    ),
    iterative: Annotated[bool, typer.Option(help="score anew after every step that is left out")] = False,
    gate: Annotated[bool, typer.Option(help="keep a chain whole where the model then answers otherwise")] = False,
    marked_only: Annotated[bool, typer.Option(help="leave texts without think tags alone")] = False,
    workers: Annotated[int, typer.Option(min=1, help="rows under way at once")] = 8,
    seed: Seed = 0,
) -> None:
    """Shorten the chains of thought in a data set; every row says what was left out, or why nothing was.

    A server's key is taken from REASONPRUNE_UPSTREAM_KEY.
    """
    from reasonprune.cot.files import CompressConfig, compress_file
    from reasonprune.engine.upstream import Server

    config = CompressConfig(budget, cast("Any", method), cast("Any", anchor), iterative, gate, marked_only, seed)
    target = out or file.with_name(file.name.removesuffix(".jsonl") + ".compressed.jsonl")
    server = Server.named(upstream, upstream_model)
    with progress_bar() as progress:
        task = progress.add_task("compressing", total=None)
        totals = compress_file(
            file,
            target,
            config,
            model,
            server,
            workers,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart
    share = f"{totals.after / totals.before:.1%}" if totals.before else "-"
    tokens = f"{totals.before:,} -> {totals.after:,} tokens ({share})"
    print(f"{target}: {totals.rows} rows, {totals.chains} chains, {tokens}")


def bench_command(
    model: Model,
    data: Annotated[Path, typer.Option(help="JSON Lines with a question and an answer each, or a recorded pool")],
    out: Out,
    budget: Annotated[str, typer.Option(help="shares of the chain's tokens to keep")] = "0.3,0.5,0.7",
    methods: Annotated[
        str, typer.Option(help="what chooses the steps")
    ] = "asap,first_token_only,perplexity,random,last_k,none",
    limit: Limit = None,
    chains: Annotated[
        Path | None, typer.Option(help="where the recorded chains are kept; goes on where it stopped")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="most tokens of a chain when recording")] = 400,
    withhold: Annotated[bool, typer.Option(help="measure also on chains cut before their answer")] = False,
    concurrency: Annotated[int, typer.Option(help="requests under way at once")] = 32,
    seed: Seed = 0,
) -> None:
    """Whether a model still gives the answer of its chain of thought when steps are left out of it."""
    from reasonprune.bench.cot import CotConfig, bench_cot, parse_budgets, parse_methods
    from reasonprune.bench.provenance import provenance, write

    config = CotConfig(model, parse_budgets(budget), parse_methods(methods), max_tokens, concurrency, seed, withhold)
    with progress_bar() as progress:
        task = progress.add_task("starting", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        result = bench_cot(data, config, limit, chains, show)
    write(out, {**result, "provenance": provenance(seed, data, model)})
    _summary(result)


def train_command(
    model: Model,
    data: Annotated[Path, typer.Option(help="what `reasonprune compress` wrote")],
    out: Annotated[Path, typer.Option(help="folder of the adapter")],
    rank: Annotated[int, typer.Option(min=1, help="of the LoRA matrices")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps")] = 300,
    learning_rate: float = 1e-3,
    batch_tokens: Annotated[int, typer.Option(min=1, help="padded tokens a step")] = 4096,
    max_tokens: Annotated[int, typer.Option(min=1, help="longer examples are left out")] = 4096,
    seed: Seed = 0,
) -> None:
    """Train a LoRA adapter on compressed chains; with it the model writes short ones (`serve --lora-modules`)."""
    from reasonprune.train.cot import CotTrainConfig, train_cot

    config = CotTrainConfig(model, rank, steps, learning_rate, batch_tokens, max_tokens, seed)
    print(json.dumps(train_cot(data, out, config), indent=2))


def verbose_command(
    out: Annotated[Path, typer.Option(help="folder for weights and tokenizer")],
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps")] = 500,
    seed: Seed = 0,
) -> None:
    """Train a TinyReasoner that says too much, to measure `train cot` on."""
    from reasonprune.train.verbose import VerboseConfig, train_verbose

    train_verbose(out, VerboseConfig(steps=steps, seed=seed))


def _summary(result: dict[str, Any]) -> None:
    """Agreement is printed beside every saving."""
    table = Table("method", "budget", "kept", "agreement", "accuracy", "answer still stated")
    for method, budgets in result["methods"].items():
        for budget, cell in budgets.items():
            shares = [cell["kept"], cell["agreement"], cell["accuracy"], cell["answer_still_stated"]]
            table.add_row(method, budget, *(f"{share:.1%}" for share in shares))
    Console(stderr=True).print(table)
