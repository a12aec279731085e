"""Runs a program that a model wrote: in a process of its own, without the user's files, and with hard limits.

A guard against accidents, not against attackers: the process can still read what the user may read, and reach the
network where the machine does. Run strangers' models inside a container.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass

MEMORY = 1 << 30  # bytes of address space
FILES = 1 << 20  # bytes of any file it writes


@dataclass(frozen=True)
class Ran:
    """How a program ended; `reason` says why it did not pass."""

    passed: bool
    reason: str | None = None


def run_guarded(program: str, seconds: float = 10.0) -> Ran:
    """Whether `program` (Python) ends by itself without an error within `seconds` of wall time.

    It runs isolated (no site packages of the user, no environment), in an empty folder that is removed afterwards,
    with limits on CPU time, memory and the size of files; what it started is ended with it.
    """
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", program],
            cwd=folder,
            env={"PATH": os.defpath, "HOME": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: _limit(seconds),
        )
        try:
            _, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return Ran(False, f"did not end within {seconds:g} s")
        _end(process)
    if process.returncode == 0:
        return Ran(True)
    lines = errors.decode(errors="replace").strip().splitlines()
    return Ran(False, lines[-1][:200] if lines else f"ended with {process.returncode}")


def _limit(seconds: float) -> None:
    cpu = int(seconds) + 1
    limits = {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_FSIZE: FILES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and whatever it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stderr is not None:
        process.stderr.close()
