"""`reasonprune datastore`: build, add, stats."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from reasonprune.errors import DatastoreError

datastore_app = typer.Typer(no_args_is_help=True, help="Datastores of drafts for speculative decoding.")

Store = Annotated[Path, typer.Argument(help="the datastore's folder")]
Data = Annotated[list[Path], typer.Option(help="text, or JSON Lines of texts, outputs or traces; may be repeated")]
Fields = Annotated[list[str] | None, typer.Option("--field", help="take these fields of JSON Lines; may be repeated")]


@datastore_app.command()
def build(
    store: Store,
    model: Annotated[str, typer.Option(help="short name, path or Hugging Face id of the model to draft for")],
    data: Data,
    field: Fields = None,
    max_tokens: Annotated[int | None, typer.Option(help="bound; the oldest documents go first")] = None,
) -> None:
    """A new datastore in the token ids of MODEL."""
    from reasonprune.speculative.datastore import Datastore
    from reasonprune.speculative.fingerprint import fingerprint, vocabulary_size

    _readable(data)
    tokenizer = _tokenizer(model)
    made = Datastore.create(store, model, fingerprint(tokenizer), vocabulary_size(tokenizer), max_tokens)
    try:
        _grow(made, data, tokenizer, field)
    except BaseException:
        for path in made.folder.iterdir():  # only what `create` made: it refuses a folder with a datastore
            if path.name in ("manifest.json", "lock"):
                path.unlink()
        with contextlib.suppress(OSError):
            made.folder.rmdir()
        raise


@datastore_app.command()
def add(
    store: Store,
    data: Data,
    field: Fields = None,
    model: Annotated[str | None, typer.Option(help="unset: the model it was built for")] = None,
) -> None:
    """Add documents; processes that use the datastore take them up by themselves."""
    from reasonprune.speculative import manifest
    from reasonprune.speculative.datastore import Datastore
    from reasonprune.speculative.fingerprint import fingerprint

    _readable(data)
    tokenizer = _tokenizer(model or manifest.load(store).model)
    _grow(Datastore(store, fingerprint(tokenizer)), data, tokenizer, field)


@datastore_app.command()
def stats(
    store: Store,
    out: Annotated[Path | None, typer.Option("--json", help="where the figures go, too")] = None,
    lookups: Annotated[int, typer.Option(min=1, help="lookups to time, of contexts taken from the store")] = 1000,
) -> None:
    """Size, contents and time of a lookup; reads all of it and compares checksums."""
    from reasonprune.bench.provenance import write
    from reasonprune.speculative.datastore import Datastore
    from reasonprune.speculative.timing import time_lookups

    began = time.perf_counter()
    opened = Datastore(store)
    verified = time.perf_counter() - began
    held = opened.manifest
    found: dict[str, Any] = {
        "model": held.model,
        "fingerprint": held.fingerprint,
        "vocabulary": held.vocabulary,
        "tokens": held.tokens,
        "documents": sum(segment.documents for segment in held.segments),
        "segments": len(held.segments),
        "bytes": opened.size,
        "max_tokens": held.max_tokens,
        "verify_s": round(verified, 3),
        **({"lookup": time_lookups(opened, lookups)} if held.tokens else {}),
    }
    if out is not None:
        write(out, found)
    table = Table("", "")
    for name, value in found.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    Console().print(table)


def _readable(data: list[Path]) -> None:
    for path in data:
        if not path.is_file():
            raise DatastoreError(f"{path} is not a file.", "--data")


def _tokenizer(model: str) -> Any:
    from transformers import AutoTokenizer

    from reasonprune.models import resolve

    tokenizer = AutoTokenizer.from_pretrained(resolve(model).path)
    # Documents are longer than prompts; the tokenizer's warning about that is of no concern here.
    logging.getLogger("transformers.tokenization_utils_base").setLevel(logging.ERROR)
    return tokenizer


def _grow(store: Any, data: list[Path], tokenizer: Any, fields: list[str] | None) -> None:
    from reasonprune.speculative.corpus import documents
    from reasonprune.terminal import progress_bar

    began = time.perf_counter()
    with progress_bar() as progress:
        task = progress.add_task("reading", total=len(data))

        def read() -> Iterator[list[int]]:
            for path in data:
                yield from documents(path, tokenizer, fields or ())
                progress.advance(task)

        first = next(documents_in := read(), None)
        if first is None:
            raise DatastoreError("The files hold no documents.", "--data")
        added = store.add(itertools.chain([first], documents_in))
    seconds = time.perf_counter() - began
    print(f"{added:,} tokens added in {seconds:.1f} s; {store.tokens:,} tokens, {store.size:,} bytes in {store.folder}")
