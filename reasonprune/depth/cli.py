"""The commands about layer programs: `bench depth`, `depth search`, `train router`. Each only parses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

depth_app = typer.Typer(no_args_is_help=True, help="Layer programs: which decoder layers a request runs (CoLa).")

Model = Annotated[str, typer.Option(help="short name, path or Hugging Face id")]
Data = Annotated[Path, typer.Option(help="JSON Lines with a question and an answer each")]
Out = Annotated[Path, typer.Option("--json", help="where the result goes")]
Limit = Annotated[int | None, typer.Option(help="only the first questions")]


def bench_depth_command(
    model: Model,
    data: Data,
    out: Out,
    program: Annotated[str, typer.Option(help="layers such as 0-9,12-29, a name of the bank, full, or auto")] = "auto",
    limit: Limit = None,
    bank: Annotated[Path | None, typer.Option(help="file of named programs")] = None,
    router: Annotated[Path | None, typer.Option(help="router for auto; without it all layers run")] = None,
    max_tokens: Annotated[int, typer.Option(help="most tokens of an answer")] = 512,
    dtype: Annotated[str, typer.Option(help="as vLLM's --dtype")] = "auto",
    rounds: Annotated[int, typer.Option(help="rounds of the speed measurement", min=1)] = 7,
) -> None:
    """A layer program beside full depth through our classes and vLLM's own class: accuracy, layers, tokens/s."""
    from reasonprune.bench.depth import DepthConfig, bench_depth
    from reasonprune.bench.provenance import provenance, write
    from reasonprune.terminal import progress_bar

    config = DepthConfig(model, program, bank, router, max_tokens, dtype, rounds)
    with progress_bar() as progress:
        task = progress.add_task("depth", total=None)
        result = bench_depth(
            data, config, limit, lambda done, total: progress.update(task, completed=done, total=total)
        )
    write(out, {**result, "provenance": provenance(None, data, model)})
    _summary(result)


def _summary(result: dict[str, Any]) -> None:
    """Accuracy is printed beside every saving."""
    table = Table("", "accuracy", "layers", "tokens/s")
    rows = {result["program"]: result, "full depth": result["full"], "plain vLLM": result["plain"]}
    for name, row in rows.items():
        table.add_row(name, f"{row['accuracy']:.1%}", f"{row['layers']:g}", f"{row['tokens_per_s']:,.0f}")
    console = Console(stderr=True)
    console.print(table)
    if "not_applied" in result:
        console.print(f"Not applied: {result['not_applied']}")


@depth_app.command("search")
def search_command(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="JSON Lines, one question a line; goes on where it stopped")],
    json_out: Out,
    reward: Annotated[
        str, typer.Option(help="gold (an oracle, to make labels), agreement with full depth, or draft (time it saves)")
    ] = "gold",
    simulations: Annotated[int, typer.Option(help="programs proposed for a question")] = 200,
    limit: Limit = None,
    bank: Annotated[Path | None, typer.Option(help="write the front as a bank of named programs")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw the front as SVG")] = None,
    max_tokens: Annotated[int, typer.Option(help="most tokens of an answer")] = 512,
    length_penalty: Annotated[float, typer.Option(min=0, help="lambda of the paper, for 28 layers and more")] = 5.0,
    skip_only: Annotated[bool, typer.Option("--skip-only", help="skip layers, repeat none")] = False,
    seed: Annotated[int, typer.Option(help="of everything random in this run")] = 0,
) -> None:
    """Monte Carlo tree search for shorter programs, question by question (CoLa); the front over all questions."""
    from reasonprune.bench.provenance import provenance, write
    from reasonprune.depth import searching
    from reasonprune.errors import RequestError
    from reasonprune.terminal import progress_bar

    if reward not in ("gold", "agreement", "draft"):
        raise RequestError(f"--reward is '{reward}'; choose gold, agreement or draft.", "--reward")
    run = searching.SearchRun(model, reward, simulations, max_tokens, seed, length_penalty, skip_only)  # type: ignore[arg-type]
    with progress_bar() as progress:
        task = progress.add_task("searching", total=None)
        result, found = searching.search(
            data,
            run,
            out,
            limit,
            lambda what, done, total: progress.update(task, description=what, completed=done, total=total),
        )
    origin = provenance(seed, data, model)
    write(json_out, {**result, "provenance": origin})
    if bank is not None:
        write(bank, found.model_copy(update={"provenance": origin}).model_dump())
    if plot is not None:
        searching.plot(result, plot)
    measure = "agreement" if reward == "draft" else "accuracy"
    table = Table("program", "layers", measure)
    for point in result["front"]:
        table.add_row(point["program"], str(point["layers"]), f"{point[measure]:.1%}")
    Console(stderr=True).print(table)


def train_router_command(
    model: Model,
    data: Data,
    bank: Annotated[Path, typer.Option(help="file of named programs, from `reasonprune depth search`")],
    out: Annotated[Path, typer.Option("--out", help="where the router goes")],
    test: Annotated[Path | None, typer.Option(help="questions to test it on; those of --data are left out")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="where the measurements go")] = None,
    limit: Limit = None,
    max_tokens: Annotated[int, typer.Option(help="most tokens of an answer")] = 512,
    seed: Annotated[int, typer.Option(help="of everything random in this run")] = 0,
) -> None:
    """The router behind the program `auto`: picks a program of a bank for each prompt, full depth when unsure."""
    from dataclasses import replace

    from reasonprune.bench.provenance import provenance, write
    from reasonprune.terminal import progress_bar
    from reasonprune.train.router import RouterConfig, train_router

    config = RouterConfig(model, bank, max_tokens, seed=seed)
    with progress_bar() as progress:
        task = progress.add_task("trying", total=None)
        router, result = train_router(
            data, test, config, limit, lambda done, total: progress.update(task, completed=done, total=total)
        )
    origin = provenance(seed, data, model)
    replace(router, provenance=origin).save(out)
    if json_out is not None:
        write(json_out, {**result, "provenance": origin})
    table = Table("questions", "accuracy", "layers", "full depth: accuracy", "layers")
    for name in ("held_out", "test"):
        if found := result.get(name):
            cells = (f"{found['accuracy']:.1%}", f"{found['layers']:.2f}", f"{found['full_accuracy']:.1%}")
            table.add_row(f"{found['questions']} ({name})", *cells, str(found["full_layers"]))
    Console(stderr=True).print(table)
