"""A child process that writes to a log file, watched while it runs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL_S = 0.1
KILL_AFTER_S = 5


def run(command: Sequence[str], log: Path, environment: Mapping[str, str], on_tick: Callable[[], None]) -> int:
    """Run `command` to its end, its output going to `log`, and return its exit status.

    `environment` is added to ours. `on_tick` is called every 0.1 s. When it raises, or the user interrupts us, the
    child is ended before the exception goes on.
    """
    with log.open("wb") as output:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    try:
        while child.poll() is None:
            on_tick()
            time.sleep(POLL_S)
    finally:
        if child.returncode is None:
            _end(child)
    return child.returncode


def last_lines(log: Path, count: int = 8) -> str:
    """The last lines of a log that are not empty, indented to be shown below a message."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-count:]) or "  (no output)"


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(KILL_AFTER_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
