"""The commands of the context pruner: `reasonprune prune`, `bench context`, and those that train one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

Threshold = Annotated[
    float | None, typer.Option(help="keep sentences whose probability is above this; unset: the model's own")
]
PrunerModel = Annotated[
    str | None, typer.Option(help="folder or hub id of a pruner (ours, Provence, XProvence, OpenProvence); unset: ours")
]
Seed = Annotated[int, typer.Option(help="of everything random in this run")]
LABEL_OUTCOMES = (("cited", "unanswered"), ("uncited", "invalid"))


def prune(
    files: Annotated[list[Path], typer.Argument(help="text files; - reads standard input")],
    question: Annotated[str, typer.Option(help="what the contexts are to answer")],
    threshold: Threshold = None,
    model: PrunerModel = None,
    title: Annotated[bool, typer.Option("--title", help="the first sentence stays if any other does")] = False,
    spans: Annotated[bool, typer.Option("--json", help="one JSON object a file, with scores and offsets")] = False,
) -> None:
    """Remove from the FILEs what does not help to answer the question; the rest goes to standard output."""
    import json

    from reasonprune.pruner.process import ContextPruner

    texts = [_read(path) for path in files]
    pruner = ContextPruner.from_pretrained(model) if model else ContextPruner()
    result = pruner.process(
        question,
        texts,
        threshold=threshold,
        always_select_title=title,
        return_sentence_metrics=spans,
        return_spans=spans,
    )
    timing = result.pop("timing")
    for i, path in enumerate(files):
        if spans:
            print(json.dumps({"file": str(path)} | {name: values[i] for name, values in result.items()}))
            continue
        kept = result["pruned_context"][i]
        print(kept, end="" if kept.endswith("\n") or not kept else "\n")
        rate = f"{result['compression_rate'][i]:.0f}% removed, relevance {result['reranking_score'][i]:.2f}"
        print(f"{path}: {rate}", file=sys.stderr)
    if not spans:
        print(f"{timing['total_seconds']:.2f} s", file=sys.stderr)


def _read(path: Path) -> str:
    from reasonprune.errors import DataError

    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8.") from None


def bench_context(
    data: Annotated[Path, typer.Option(help="questions with contexts and answers: SQuAD's JSON, SelQA's, JSON Lines")],
    out: Annotated[Path, typer.Option("--json", help="where the result goes")],
    distractors: Annotated[int, typer.Option(help="other contexts of the file beside the one with the answer")] = 0,
    threshold: Threshold = None,
    model: PrunerModel = None,
    limit: Annotated[int | None, typer.Option(help="only the first questions")] = None,
    seed: Seed = 0,
) -> None:
    """Recall of the answer's sentence and compression, beside BM25, the base encoder's cosine, and no pruning."""
    from reasonprune.bench.context import bench_context
    from reasonprune.bench.provenance import provenance, write
    from reasonprune.pruner.process import checked_threshold
    from reasonprune.terminal import progress_bar

    if threshold is not None:
        checked_threshold(threshold)
    with progress_bar() as progress:
        task = progress.add_task("pruning", total=None)
        result = bench_context(
            data,
            model,
            threshold,
            distractors,
            limit,
            seed,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    write(out, {**result, "provenance": provenance(seed, data, model)})
    table = Table("", "recall", "compression", "seconds")
    rows: dict[str, Any] = {"pruner": result} | {name: result[name] for name in ("bm25", "minilm", "none")}
    for name, row in rows.items():
        table.add_row(name, f"{row['recall']:.1%}", f"{row['compression']:.1%}", f"{row['seconds']:.1f}")
    Console(stderr=True).print(table)


def train_pruner(
    data: Annotated[list[Path], typer.Argument(help="evidence: SQuAD's JSON, SelQA's, src-*.txt, or JSON Lines")],
    out: Annotated[Path, typer.Option(help="folder for the weights and how they came about")],
    base: Annotated[str, typer.Option(help="a sentence encoder: short name, folder or Hugging Face id")] = "minilm",
    join: Annotated[int, typer.Option(help="layers that read question and context apart, and stay as they are")] = 4,
    epochs: float = 3.0,
    minutes: Annotated[float | None, typer.Option(help="of fitting, at most; unset: until the epochs are over")] = None,
    learning_rate: float = 1e-3,
    batch: Annotated[int, typer.Option(help="contexts a step")] = 32,
    held_out: Annotated[float, typer.Option(help="share of the articles that is set aside")] = 0.0,
    begin_with: Annotated[Path | None, typer.Option(help="a folder saved before, to train further")] = None,
    threads: int = 1,
    seed: Seed = 0,
) -> None:
    """Train a context pruner on questions with the sentences that answer them."""
    from reasonprune.train.pruner import TrainConfig, train

    config = TrainConfig(
        base=base,
        join=join,
        epochs=epochs,
        minutes=minutes,
        learning_rate=learning_rate,
        batch=batch,
        held_out_share=held_out,
        threads=threads,
        seed=seed,
    )
    record = train(data, out, config, begin_with)
    last = record["phases"][-1]
    print(f"{out}: {last['steps']} steps, loss {last['final_loss']}, {last['seconds']} s", file=sys.stderr)


def calibrate_pruner(
    folder: Annotated[Path, typer.Argument(help="of a pruner that was trained here; its pruner.json is set anew")],
    data: Annotated[Path, typer.Argument(help="questions that it was not trained on, with contexts and answers")],
    alone: Annotated[float, typer.Option(min=0, max=1, help="share of a context alone to remove")] = 0.5,
    among: Annotated[float, typer.Option(min=0, max=1, help="share to remove beside distractors")] = 0.88,
    distractors: Annotated[int, typer.Option(min=0, help="other contexts of the file; 0: contexts alone")] = 4,
    texts: Annotated[
        Path | None,
        typer.Option(help="set how much goes on these questions' contexts instead; their answers are not read"),
    ] = None,
    ranking: Annotated[str, typer.Option(help="of documents: both (trained head and cosine) or cosine")] = "both",
    limit: Annotated[int | None, typer.Option(help="only the first questions")] = None,
    seed: Seed = 0,
) -> None:
    """Choose the weights around a pruner's network so that at these compressions the fewest answers are lost."""
    from reasonprune.errors import RequestError
    from reasonprune.terminal import stage_bars
    from reasonprune.train.calibration import CalibrationConfig, calibrate

    if ranking not in ("both", "cosine"):
        raise RequestError(f"--ranking {ranking}: expected both or cosine.", "--ranking")
    config = CalibrationConfig(
        alone, among, distractors, "cosine" if ranking == "cosine" else "both", texts, limit, seed
    )
    with stage_bars() as show:
        found = calibrate(folder, data, config, show)
    for name, value in found.items():
        print(f"{name}: {value}", file=sys.stderr)


def label_pruner(
    data: Annotated[Path, typer.Argument(help="questions with contexts; labels are not read")],
    out: Annotated[Path, typer.Option(help="JSON Lines for `train pruner`; goes on where it stopped")],
    model: Annotated[str | None, typer.Option(help="labels here: short name, path or hub id")] = None,
    upstream: Annotated[str | None, typer.Option(help="labels instead: URL of an OpenAI-compatible server")] = None,
    upstream_model: Annotated[str | None, typer.Option(help="unset: the first that the server lists")] = None,
    limit: Annotated[int | None, typer.Option(help="only the first questions")] = None,
    concurrency: Annotated[int, typer.Option(help="questions under way at once")] = 8,
) -> None:
    """Have an LLM answer questions and cite sentences; the citations are labels that `train pruner` learns from.

    A server's key is taken from REASONPRUNE_UPSTREAM_KEY. Replies that cite nothing, or what is not there, are
    discarded and counted.
    """
    from reasonprune.engine.upstream import Server
    from reasonprune.terminal import progress_bar
    from reasonprune.train.label import LabelConfig, discarded, label_file

    server = Server.named(upstream, upstream_model)
    config = LabelConfig(model, server, concurrency)
    with progress_bar() as progress:
        task = progress.add_task("labelling", total=None)
        counts = label_file(
            data, out, config, limit, lambda done, total: progress.update(task, completed=done, total=total)
        )
    kept, dropped = (sum(counts.get(name, 0) for name in names) for names in LABEL_OUTCOMES)
    details = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing left to label"
    print(f"{out}: {kept} labelled; {dropped} discarded ({discarded(out).name}): {details}")


def mount(app: typer.Typer, bench: typer.Typer, train: typer.Typer) -> None:
    """Adds the commands to the command line's three groups."""
    app.command()(prune)
    bench.command("context")(bench_context)
    train.command("pruner")(train_pruner)
    train.command("pruner-calibration")(calibrate_pruner)
    train.command("pruner-labels")(label_pruner)
