"""The commands of self-evaluation; mounted by `reasonprune.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

train_commands = typer.Typer()
bench_commands = typer.Typer()

Seed = Annotated[int, typer.Option(help="of everything random in this run")]


@train_commands.command("self-eval")
def train_self_eval_command(
    pool: Annotated[Path, typer.Option(help="traces recorded with `reasonprune record`")],
    kind: Annotated[str, typer.Option(help="adapter or head")],
    out: Annotated[Path | None, typer.Option(help="folder; unset: where serving finds it by itself")] = None,
    model: Annotated[str | None, typer.Option(help="the model; unset: the one that the pool names")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="adapter: training steps")] = None,
    states: Annotated[
        Path | None, typer.Option(help="head: file that keeps the hidden states, for another training on the same pool")
    ] = None,
    test: Annotated[
        float, typer.Option("--test-share", min=0.01, max=0.9, help="of the questions; these only report")
    ] = 0.3,
    seed: Seed = 0,
) -> None:
    """Train what tells how good a trace is, on whole and truncated traces; prints its figures on unseen questions."""
    from reasonprune.errors import RequestError
    from reasonprune.terminal import stage_bars
    from reasonprune.train.self_eval import SelfEvalConfig, train_self_eval, trained_kind
    from reasonprune.train.self_eval_adapter import AdapterConfig
    from reasonprune.train.self_eval_head import HeadConfig

    chosen = trained_kind(kind)
    if steps is not None and chosen == "head":
        raise RequestError("--steps is for the kind adapter; a head is fitted until it is done.", "--steps")
    if states is not None and chosen == "adapter":
        raise RequestError("--states is for the kind head; an adapter reads the traces themselves.", "--states")
    config = SelfEvalConfig(
        chosen,
        model,
        HeadConfig(seed=seed),
        AdapterConfig(seed=seed, **({"steps": steps} if steps else {})),
        test,
        seed,
        states,
    )
    with stage_bars() as show:
        folder, training = train_self_eval(pool, out, config, show)
    _table(training["test"], f"{chosen}, unseen questions")
    print(folder)


@bench_commands.command("self-eval")
def bench_self_eval_command(
    data: Annotated[Path, typer.Option(help="JSON Lines with a question and an answer each")],
    kind: Annotated[str, typer.Option(help="verbal, adapter or head")],
    out: Annotated[Path, typer.Option("--json", help="where the result goes")],
    model: Annotated[str | None, typer.Option(help="short name, path or Hugging Face id")] = None,
    upstream: Annotated[
        str | None, typer.Option(help="instead of --model: URL of an OpenAI-compatible server with log-probabilities")
    ] = None,
    upstream_model: Annotated[str | None, typer.Option(help="unset: the first that the server lists")] = None,
    n: Annotated[int, typer.Option(min=1, help="traces a question")] = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first questions")] = None,
    self_eval_model: Annotated[
        Path | None, typer.Option(help="adapter, head: its folder; unset: the one found for the model")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="unset: the model's own, else 0.8")] = None,
    top_p: Annotated[float | None, typer.Option(help="unset: the model's own, else 0.95")] = None,
    max_tokens: Annotated[int, typer.Option(min=1)] = 1024,
    concurrency: Annotated[int, typer.Option(min=1, help="questions whose traces are sampled together")] = 4,
    seed: Seed = 0,
) -> None:
    """Measure how well a model tells its right traces from its wrong ones, what that gains at n, and its cost.

    A server's key is taken from REASONPRUNE_UPSTREAM_KEY.
    """
    from reasonprune.bench.drawn import Draws
    from reasonprune.bench.provenance import provenance, write
    from reasonprune.bench.sampling import sampling_of
    from reasonprune.bench.self_eval import SelfEvalBenchConfig, bench_self_eval, kind_of
    from reasonprune.engine.upstream import Server
    from reasonprune.errors import RequestError
    from reasonprune.terminal import progress_bar

    name = kind_of(kind)
    server = Server.named(upstream, upstream_model)
    if (server is None) == (model is None):
        raise RequestError("Name the model to measure: either --model or --upstream.", "--model")
    if upstream_model is not None and server is None:
        raise RequestError("--upstream-model is for --upstream; --model is named.", "--upstream-model")
    draws = Draws(n, *sampling_of(model, temperature, top_p), max_tokens, seed)
    subject = server if server is not None else str(model)
    config = SelfEvalBenchConfig(subject, name, draws, self_eval_model, concurrency)
    with progress_bar() as progress:
        task = progress.add_task(kind, total=None)
        result = bench_self_eval(
            data, config, limit, lambda done, total: progress.update(task, completed=done, total=total)
        )
    write(out, {**result, "file": data.name, "provenance": provenance(seed, data, model)})
    _table(result["shares"], f"{kind}: {result['check_ms']} ms a check")
    accuracy = Table("accuracy of", *result["accuracy"])
    accuracy.add_row(f"n = {n}", *(f"{value:.1%}" for value in result["accuracy"].values()))
    Console(stderr=True).print(accuracy)


def _table(shares: dict[str, Any], title: str) -> None:
    table = Table("share of the trace", "AUROC within questions", "pooled", "ECE", "traces", title=title)
    for share, found in shares.items():
        values = [found[key] for key in ("auroc_within", "auroc_pooled", "ece")]
        table.add_row(share, *("-" if v is None else f"{v:.3f}" for v in values), f"{found['traces']:,}")
    Console(stderr=True).print(table)
