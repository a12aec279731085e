"""The commands of ASAP: `compress`, `bench cot`, `train cot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    bench.command("cot")(bench_command)


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
    withhold: Annotated[bool, typer.Option(help="cut chains before their answer is first stated")] = False,
    concurrency: Annotated[int, typer.Option(help="requests under way at once")] = 16,
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


def _summary(result: dict[str, Any]) -> None:
    """Agreement is printed beside every saving."""
    table = Table("method", "budget", "kept", "agreement", "accuracy", "answer still stated")
    for method, budgets in result["methods"].items():
        for budget, cell in budgets.items():
            shares = [cell["kept"], cell["agreement"], cell["accuracy"], cell["answer_still_stated"]]
            table.add_row(method, budget, *(f"{share:.1%}" for share in shares))
    Console(stderr=True).print(table)
