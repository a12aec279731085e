"""The commands `reasonprune kg` and `reasonprune bench graph`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from reasonprune.graph.pipeline import Result

kg_app = typer.Typer(no_args_is_help=True, help="Knowledge graphs: load, look at, ask.")
Graph = Annotated[Path, typer.Argument(help="a file of triples, or a store made by `kg load`")]
FormatOption = Annotated[
    Literal["tsv", "csv", "rdf", "graphml", "json", "metaqa"] | None,
    typer.Option("--format", help="unset: by the file's ending"),
]


@kg_app.command("load")
def load_command(
    file: Annotated[Path, typer.Argument(help="triples: TSV, CSV, N-Triples, Turtle, GraphML, JSON, MetaQA's folder")],
    store: Annotated[Path, typer.Argument(help="the store to write, one file")],
    form: FormatOption = None,
    aliases: Annotated[
        Path | None, typer.Option(help="TSV: an entity and another name for it, one pair a line")
    ] = None,
) -> None:
    """Write a graph to a store on disk: graphs beyond memory load and answer from it."""
    from reasonprune.graph.disk import load
    from reasonprune.graph.readers import first_of, read_aliases, read_triples

    others = read_aliases(aliases) if aliases else None
    print(json.dumps(load(first_of(read_triples(file, form)), store, others).__dict__))


@kg_app.command("stats")
def stats_command(graph: Graph, form: FormatOption = None) -> None:
    """How large a graph is, as JSON."""
    from reasonprune.graph.stores import open_path

    print(json.dumps(open_path(graph, form).stats().__dict__))


@kg_app.command("ask")
def ask_command(
    graph: Graph,
    question: Annotated[str, typer.Argument(help="brackets may mark the [topic]")],
    form: FormatOption = None,
    topic: Annotated[list[str] | None, typer.Option(help="an entity asked about; may be repeated")] = None,
    max_paths: int = 3,
    depth: Annotated[int, typer.Option(help="most steps of a path")] = 3,
    llm: Annotated[str | None, typer.Option(help="a model to choose and check: short name, path or hub id")] = None,
    picture: Annotated[Path | None, typer.Option(help="write kept and pruned paths as .svg or .html")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="write the whole result")] = None,
) -> None:
    """Answer a question from a graph, with the paths that lead there."""
    from reasonprune.graph.stores import open_path
    from reasonprune.options import GraphOptions
    from reasonprune.settings import validate

    asked = {"store": "", "max_paths": max_paths, "depth": depth, "llm": llm is not None}
    options = validate(GraphOptions, asked | ({"topics": topic} if topic else {}), "options")
    store = open_path(graph, form)
    result = asyncio.run(_ask(store, question, options, llm))
    if out is not None:
        out.write_text(json.dumps(result.as_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if picture is not None:
        from reasonprune.graph.picture import write_picture

        write_picture(picture, store, result)
    _show(result)


async def _ask(store: Any, question: str, options: Any, llm: str | None) -> Result:
    from reasonprune.bench.graph import model_of
    from reasonprune.graph.pipeline import PathsOverGraph
    from reasonprune.sentence_encoder import shared_encoder

    async with model_of(llm) as model:
        return await PathsOverGraph(store, shared_encoder()).answer(question, options, model)


def _show(result: Result) -> None:
    console = Console()
    for answer in result.answers[:10]:
        console.print(answer.name, markup=False, highlight=False)
    if not result.answers:
        console.print(f"No answer: {result.reason}.", markup=False, highlight=False)
    for line in result.lines:
        Console(stderr=True).print(line, markup=False, highlight=False)


def bench_graph_command(
    kb: Annotated[Path, typer.Option(help="the graph: triples, a store, or MetaQA's folder")],
    data: Annotated[Path, typer.Option(help="questions with answers")],
    form: Annotated[Literal["pathquestion", "metaqa"], typer.Option("--format", help="how the questions are written")],
    out: Annotated[Path, typer.Option("--json", help="where the result goes")],
    llm: Annotated[Literal["none", "engine"], typer.Option(help="whether a model in this process takes part")] = "none",
    model: Annotated[str, typer.Option(help="with `--llm engine`: short name, path or hub id")] = "demo",
    limit: Annotated[int | None, typer.Option(help="only the first questions")] = None,
    linking: Annotated[
        Literal["given", "linked"], typer.Option(help="topics as marked, or found in the text")
    ] = "given",
    max_paths: int = 3,
    depth: Annotated[int, typer.Option(help="most steps of a path")] = 3,
) -> None:
    """Questions over a knowledge graph: hits, recall, paths, calls of a model, seconds."""
    from reasonprune.bench.graph import GraphConfig, bench_graph
    from reasonprune.bench.provenance import provenance, write
    from reasonprune.terminal import progress_bar

    name = model if llm == "engine" else None
    config = GraphConfig(form, name, linking, options={"max_paths": max_paths, "depth": depth})
    with progress_bar() as progress:
        task = progress.add_task("questions", total=None)
        result = bench_graph(
            kb, data, config, limit, lambda done, total: progress.update(task, completed=done, total=total)
        )
    write(out, {**result, "kb": kb.name, "provenance": provenance(None, data, name)})
    table = Table("hits@1", "hits@3", "recall", "paths considered", "kept", "calls", "tokens", "s/question")
    row = ("hits_at_1", "hits_at_3", "answer_recall", "paths_considered", "paths_kept", "llm_calls", "llm_tokens")
    table.add_row(*(f"{result[key]:.4g}" for key in (*row, "seconds_per_question")))
    Console(stderr=True).print(table)
