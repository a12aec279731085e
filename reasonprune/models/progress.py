"""Progress on the terminal as a bar, elsewhere (a log, a pipe) as plain lines. All of it goes to standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)


class Bar:
    """One bar; made by `Display`."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total)

    def update(self, completed: int, text: str | None = None) -> None:
        """Move the bar to `completed`, with a new label where there is one; without a terminal, print the label."""
        self._progress.update(self._task, completed=completed, description=text)
        if text and self._progress.disable:
            _print(self._progress.console, text)


class Display:
    """Messages and bars about one piece of work."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)

    def say(self, text: str) -> None:
        """Print one message."""
        _print(self._console, text)

    @contextmanager
    def bar_of_bytes(self, total: int) -> Iterator[Bar]:
        """A bar that counts bytes."""
        with self._progress(DownloadColumn()) as progress:
            yield Bar(progress, total)

    @contextmanager
    def bar_of_steps(self, total: int) -> Iterator[Bar]:
        """A bar that counts steps."""
        with self._progress(MofNCompleteColumn()) as progress:
            yield Bar(progress, total)

    def _progress(self, count: ProgressColumn) -> Progress:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn())
        return Progress(*columns, console=self._console, disable=not self._console.is_terminal)


def _print(console: Console, text: str) -> None:
    # Paths and package output are not markup, and must not be wrapped in the middle.
    console.print(text, markup=False, highlight=False, soft_wrap=True)
