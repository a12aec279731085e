"""The command `reasonprune`. Each command only parses; the work is in the module it names."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from reasonprune import __version__
from reasonprune.cot.cli import mount as mount_cot
from reasonprune.depth.cli import bench_depth_command, depth_app, train_router_command
from reasonprune.errors import ReasonpruneError
from reasonprune.graph.commands import bench_graph_command, kg_app
from reasonprune.pruner import cli as pruner_cli
from reasonprune.selfeval.cli import bench_commands, train_commands
from reasonprune.speculative.cli import datastore_app
from reasonprune.terminal import progress_bar, stage_bars

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
bench_app = typer.Typer(no_args_is_help=True, help="Offline runs; every result is written with its provenance.")
train_app = typer.Typer(no_args_is_help=True, help="Train what ships with reasonprune.")
app.add_typer(bench_app, name="bench")
app.add_typer(train_app, name="train")
app.add_typer(depth_app, name="depth")
bench_app.command("depth")(bench_depth_command)
train_app.command("router")(train_router_command)
mount_cot(app, bench_app, train_app)
bench_app.add_typer(bench_commands)
train_app.add_typer(train_commands)
app.add_typer(kg_app, name="kg")
bench_app.command("graph")(bench_graph_command)
pruner_cli.mount(app, bench_app, train_app)
app.add_typer(datastore_app, name="datastore")

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
Temperature = Annotated[float | None, typer.Option(help="unset: the model's own, else 0.8")]
TopP = Annotated[float | None, typer.Option(help="unset: the model's own, else 0.95")]
Out = Annotated[Path, typer.Option("--json", help="where the result goes")]
Seed = Annotated[int, typer.Option(help="of everything random in this run")]
Shares = Annotated[str, typer.Option("--prefix", help="shares of each trace that the judge is shown")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="a policy's option as key=value; may be repeated")]


@app.command("serve", context_settings=PASS_ON)
def serve_command(context: typer.Context) -> None:
    """vLLM's own server with reasonprune inside: MODEL [--config FILE.toml] [any vLLM flag]."""
    from reasonprune.serve import serve

    serve(context.args)


@app.command()
def models(fetch: Annotated[list[str] | None, typer.Argument(help="short names to fetch now")] = None) -> None:
    """List the models with short names; fetch those that are named."""
    from reasonprune.models import catalog, fetch_by_name

    for name in fetch or ():
        print(fetch_by_name(name))
    if fetch:
        return
    table = Table("name", "what", "licence", "cached", "on disk")
    for entry in catalog():
        size = (
            f"{entry.size_on_disk / 1e6:,.0f} MB" if entry.cached else f"({entry.download_size / 1e6:,.0f} MB to fetch)"
        )
        table.add_row(entry.name, entry.description, entry.licence, "yes" if entry.cached else "no", size)
    Console().print(table)


@app.command()
def settings() -> None:
    """All settings as a table: request field, TOML, environment and flags share these names."""
    from reasonprune.docs import settings_table

    print(settings_table(), end="")


@app.command()
def record(
    dataset: Annotated[Path, typer.Argument(help="JSON Lines with a question and an answer each")],
    model: Annotated[str, typer.Option(help="short name, path or Hugging Face id")],
    n: Annotated[int, typer.Option(help="traces a question")],
    out: Annotated[Path, typer.Option(help="JSON Lines, one question a line; goes on where it stopped")],
    limit: Annotated[int | None, typer.Option(help="only the first questions")] = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: int = 1024,
    concurrency: Annotated[int, typer.Option(help="questions under way at once")] = 4,
    probe_every: Annotated[int, typer.Option(help="force an answer every so many tokens; 0: never")] = 0,
    logprobs: Annotated[bool, typer.Option(help="of every token; deepconf and bench cot read them")] = True,
    seed: Seed = 0,
) -> None:
    """Record real traces of a model on a dataset, to replay policies on."""
    from reasonprune.bench.record import RecordConfig, record_pool
    from reasonprune.bench.sampling import sampling_of

    drawn = sampling_of(model, temperature, top_p)
    config = RecordConfig(model, n, *drawn, max_tokens, probe_every, seed, concurrency, logprobs)
    with progress_bar() as progress:
        task = progress.add_task("recording", total=None)
        record_pool(dataset, config, out, limit, lambda done, total: progress.update(task, completed=done, total=total))


@bench_app.command("pool")
def bench_pool_command(
    file: Annotated[Path, typer.Option(help="recorded traces: ours or Parallel-Probe's format")],
    policy: Annotated[str, typer.Option(help="a parallel policy")],
    out: Out,
    n: Annotated[int, typer.Option(help="most traces the policy may start, and the baseline's")] = 64,
    reshuffles: int = 64,
    seed: Seed = 0,
    sets: Sets = None,
) -> None:
    """Replay a policy on recorded traces, beside self-consistency at n and at equal tokens."""
    from reasonprune.bench.pool import bench_pool
    from reasonprune.bench.provenance import provenance, write

    options = policy_options(policy, n, sets or [])
    with progress_bar() as progress:
        task = progress.add_task(policy, total=100)
        result = bench_pool(file, options, reshuffles, seed, lambda share: progress.update(task, completed=100 * share))
    write(out, {**result, "provenance": provenance(seed, file)})
    _summary(result)


@bench_app.command("parallel")
def bench_parallel_command(
    model: Annotated[str, typer.Option(help="short name, path or Hugging Face id")],
    data: Annotated[Path, typer.Option(help="JSON Lines with a question and an answer each")],
    policy: Annotated[str, typer.Option(help="a parallel policy")],
    out: Out,
    n: int = 16,
    limit: Annotated[int | None, typer.Option(help="only the first questions")] = None,
    concurrency: Annotated[int, typer.Option(help="questions under way at once")] = 1,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: int = 1024,
    seed: Seed = 0,
    sets: Sets = None,
) -> None:
    """Run a policy live on vLLM, question by question in turn with self-consistency at the same n."""
    from reasonprune.bench.live import LiveConfig, bench_live
    from reasonprune.bench.provenance import provenance, write
    from reasonprune.bench.sampling import sampling_of

    options = policy_options(policy, n, sets or [])
    config = LiveConfig(model, options, *sampling_of(model, temperature, top_p), max_tokens, concurrency, seed)
    with progress_bar() as progress:
        task = progress.add_task(policy, total=None)
        result = bench_live(data, config, limit, lambda done, total: progress.update(task, completed=done, total=total))
    write(out, {**result, "provenance": provenance(seed, data, model)})
    _summary(result)


@bench_app.command("judge")
def bench_judge_command(
    file: Annotated[Path, typer.Option("--pool", help="recorded traces with their texts")],
    judge: Annotated[str, typer.Option(help="encoder, llm, probe or cosine")],
    out: Out,
    head: Annotated[Path | None, typer.Option(help="encoder: a trained head; unset: the shipped one")] = None,
    model: Annotated[str | None, typer.Option(help="llm: the judge itself; cosine: the sentence encoder")] = None,
    prefix: Shares = "0.25,0.5,0.75",
    pairs: Annotated[int, typer.Option(min=1, help="most pairs a question; the same ones for every judge")] = 40,
    limit_questions: Annotated[int | None, typer.Option(min=1, help="only the first questions")] = None,
    unseen_by: Annotated[Path | None, typer.Option(help="only questions that this head was not trained on")] = None,
    seed: Seed = 0,
) -> None:
    """Measure how well a judge tells, from prefixes, which recorded traces end in the same answer."""
    from reasonprune.bench.judge import JudgeConfig, bench_judge, judge_name
    from reasonprune.bench.provenance import provenance, write

    config = JudgeConfig(judge_name(judge), shares(prefix), pairs, head, model, limit_questions, unseen_by, seed)
    with progress_bar() as progress:
        task = progress.add_task(judge, total=None)
        result = bench_judge(file, config, lambda done, total: progress.update(task, completed=done, total=total))
    write(out, {**result, "provenance": provenance(seed, file, model)})
    _judge_summary({share: {judge: found, "oracle": result["oracle"]} for share, found in result["prefix"].items()})


@bench_app.command("speculative")
def bench_speculative_command(
    model: Annotated[str, typer.Option(help="short name, path or Hugging Face id")],
    data: Annotated[Path, typer.Option(help="JSON Lines: Spec-Bench's format, or a question each")],
    out: Out,
    methods: Annotated[str, typer.Option(help="of base, ngram, suffix, retrieval, draft, rasd")] = (
        "base,ngram,suffix,rasd"
    ),
    limit: Annotated[int | None, typer.Option(min=1, help="so many prompts, spread over the tasks")] = None,
    dtype: Annotated[str, typer.Option(help="float32 for comparing outputs token by token")] = "auto",
    max_tokens: Annotated[int, typer.Option(min=1)] = 128,
    draft_tokens: Annotated[int, typer.Option(min=1, max=64, help="most tokens of a draft")] = 12,
    concurrency: Annotated[int, typer.Option(min=1, help="prompts under way at once")] = 1,
    datastore: Annotated[Path | None, typer.Option(help="a further source of drafts for rasd and retrieval")] = None,
    draft_model: Annotated[str | None, typer.Option(help="drafter of draft and rasd; unset: retrieval alone")] = None,
    draft_layers: Annotated[str | None, typer.Option(help="layers of MODEL that draft instead, as 0-9,20-29")] = None,
) -> None:
    """Compare ways of speculative decoding on one engine: speed, acceptance length, identical outputs."""
    from reasonprune.bench.provenance import provenance, write
    from reasonprune.bench.speculative import SpeculativeConfig, bench_speculative, methods_of

    chosen = methods_of(methods, draft_model, draft_layers)
    config = SpeculativeConfig(
        model, chosen, dtype, max_tokens, draft_tokens, concurrency, datastore, draft_model, draft_layers
    )
    with progress_bar() as progress:
        task = progress.add_task("speculative", total=None)
        result = bench_speculative(
            data, config, limit, lambda done, total: progress.update(task, completed=done, total=total)
        )
    write(out, {**result, "provenance": provenance(0, data, model)})
    table = Table("method", "tokens/s", "acceptance length", "identical")
    for name, found in result["methods"].items():
        cells = (f"{found['tokens_per_s']:,.1f}", f"{found['acceptance_length']:.2f}", f"{found['identical']:.1%}")
        table.add_row(name, *cells)
    Console(stderr=True).print(table)


@train_app.command("judge")
def train_judge_command(
    pools: Annotated[list[Path], typer.Option("--pool", help="recorded traces with their texts; may be repeated")],
    out: Annotated[Path, typer.Option(help="folder for the head and its provenance")],
    encoder: Annotated[str, typer.Option(help="sentence encoder: short name, folder or hub id")] = "minilm",
    prefix: Shares = "0.25,0.5,0.75",
    inputs: Annotated[str, typer.Option(help="heads to try, the simplest first")] = "text,cosine,embeddings",
    pairs: Annotated[int, typer.Option(min=1, help="most pairs a question")] = 120,
    epochs: Annotated[int, typer.Option(min=1, help="at most; ends earlier when validation does not improve")] = 30,
    llm: Annotated[str | None, typer.Option(help="also measure this model as a judge without training")] = None,
    llm_pairs: Annotated[int, typer.Option(min=1, help="most pairs a question that it is asked about")] = 8,
    seed: Seed = 0,
) -> None:
    """Train the head of the judge `encoder`; prints its figures on questions that training did not see."""
    from reasonprune.train.judge import TrainConfig, add_llm, inputs_of, train

    config = TrainConfig(encoder, shares(prefix), inputs_of(inputs), pairs, epochs, seed=seed)
    with stage_bars() as show:
        head = train(pools, out, config, progress=show)
        if llm is not None:
            add_llm(head, pools, out, llm, llm_pairs, show)
    for pool, cuts in head.training["test"].items():
        _judge_summary(cuts, pool)


@train_app.command("tiny-reasoner")
def train_tiny_reasoner(
    out: Annotated[Path, typer.Option(help="folder for weights, tokenizer and provenance")],
    begin_with: Annotated[Path | None, typer.Option(help="a folder saved after an earlier phase")] = None,
    layer_dropout: Annotated[
        bool, typer.Option("--layer-dropout", help="teach the finished model to miss layers, for layer programs")
    ] = False,
    draft: Annotated[bool, typer.Option("--draft", help="a smaller model that drafts for it, of two layers")] = False,
    seed: Seed = 0,
) -> None:
    """Train TinyReasoner from scratch on problems that are generated on the way."""
    from dataclasses import replace

    from reasonprune.errors import RequestError
    from reasonprune.models import resolve
    from reasonprune.train.tiny_reasoner import DRAFT, TrainConfig, train, train_to_miss_layers

    if draft and layer_dropout:
        raise RequestError("--draft trains a model of its own; it has no use for --layer-dropout.", "--draft")
    if layer_dropout:
        train_to_miss_layers(out, begin_with or Path(resolve("tiny").path), seed=seed)
        return
    train(out, replace(DRAFT, seed=seed) if draft else TrainConfig(seed=seed), begin_with)


def policy_options(policy: str, n: int, sets: list[str]) -> Any:
    """A policy's options from the command line; raises RequestError naming what is wrong."""
    from reasonprune.errors import RequestError
    from reasonprune.options import Options
    from reasonprune.settings import scalar, validate

    chosen: dict[str, Any] = {"policy": policy, "n": n}
    for pair in sets:
        key, equals, value = pair.partition("=")
        if not equals:
            raise RequestError(f"--set {pair}: expected key=value.", "--set")
        chosen[key] = scalar(value)
    return validate(Options, {"parallel": chosen}, "options").parallel


def shares(prefix: str) -> tuple[float, ...]:
    """Shares of a trace from the command line; raises RequestError for what is not between 0 and 1."""
    from reasonprune.errors import RequestError

    try:
        found = tuple(float(share) for share in prefix.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < share < 1 for share in found):
        raise RequestError(f"--prefix {prefix}: expected shares between 0 and 1, such as 0.25,0.5.", "--prefix")
    return found


def _judge_summary(cuts: dict[str, Any], title: str | None = None) -> None:
    table = Table("prefix", "judge", "AUROC within questions", "pooled", "TNR at FNR 0.2", "pairs", title=title)
    for cut, judges in cuts.items():
        for judge, found in judges.items():
            values = [found[key] for key in ("auroc_within", "auroc_pooled", "tnr_at_fnr_20")]
            table.add_row(cut, judge, *("-" if v is None else f"{v:.3f}" for v in values), f"{found['pairs']:,}")
    Console(stderr=True).print(table)


def _summary(result: dict[str, Any]) -> None:
    """Accuracy is printed beside every saving."""
    table = Table("", "accuracy", "total tokens", "sequential tokens", "seconds")
    rows = {f"{result['policy']}, n={result['n']}": result}
    for key in ("baseline", "equal_tokens_baseline"):
        if key in result:
            rows[f"self-consistency, n={result[key]['n']}"] = result[key]
    for name, row in rows.items():
        cells = [f"{row['accuracy']:.1%}", f"{row['total_tokens']:,.0f}", f"{row.get('sequential_tokens', 0):,.0f}"]
        table.add_row(name, *cells, f"{row['seconds']:.1f}" if "seconds" in row else "")
    Console(stderr=True).print(table)


def main() -> None:
    """Errors of ours become one line on stderr and exit code 1."""
    # Without this a SIGTERM would leave the engine's own processes running.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        app()
    except ReasonpruneError as error:
        print(f"reasonprune: {error.message}", file=sys.stderr)
        sys.exit(1)


@app.command()
def version() -> None:
    """The version of reasonprune."""
    print(__version__)


if __name__ == "__main__":
    main()
