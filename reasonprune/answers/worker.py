"""Equality of formulas by math-verify, in a process of its own that may hang, crash or run out of memory.

`python -m reasonprune.answers.worker SECONDS MEMORY_BYTES` greets with `{"ready": true}`, or false and a `reason`, and
answers each line `{"a": ..., "b": ...}` on standard input with `{"equal": true | false | null}`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

MAX_CHARS = 2_000
"""Longer formulas are not compared. Two of them as JSON fit a pipe's buffer (64 KiB), so that writing cannot block."""

_MAX_FAILED_STARTS = 3


class MathChecker:
    """A `Checker` that asks math-verify. Starts its process at the first use, and anew after a time-out or crash.

    `timeout`: seconds of wall time for one pair. `memory`: address space of the process in bytes. `start_timeout`:
    seconds the process may take to import sympy, which are not part of `timeout`. `command` replaces the process.
    `timeouts` counts pairs not decided in time, `restarts` how often the process was started anew. `reason` says why
    nothing can be compared where `available` is False. Thread-safe: pairs are checked one after the other.
    """

    def __init__(
        self,
        timeout: float = 2.0,
        memory: int = 2 << 30,
        start_timeout: float = 60.0,
        command: Sequence[str] | None = None,
    ) -> None:
        self.timeouts = 0
        self.restarts = 0
        self.reason: str | None = None
        if command is None and importlib.util.find_spec("math_verify") is None:
            self.reason = "math-verify is not installed: pip install 'reasonprune[math]'"
        self._command = command or [sys.executable, "-Wignore", "-m", __spec__.name, str(timeout), str(memory)]
        self._timeout = timeout
        self._start_timeout = start_timeout
        self._process: _Process | None = None
        self._started = False
        self._failed_starts = 0
        self._lock = threading.Lock()

    @property
    def available(self) -> bool:
        """Whether pairs can be compared, as far as is known before the first one."""
        return self.reason is None

    @property
    def pid(self) -> int | None:
        """The worker's process, None where none is running."""
        return process.popen.pid if (process := self._process) else None

    def equal(self, a: str, b: str) -> bool | None:
        """Whether two formulas in LaTeX are equal, in either order; None if that was not found out in time."""
        if max(len(a), len(b)) > MAX_CHARS:
            return None
        with self._lock:
            if (process := self._ready()) is None:
                return None
            reply = process.ask({"a": a, "b": b}, self._timeout)
            if reply is None:
                self.timeouts += process.alive()
                self._stop()
                return None
            self.timeouts += reply.get("timeout") is True
            verdict = reply.get("equal")
            return verdict if isinstance(verdict, bool) else None

    def close(self) -> None:
        """End the process. Nothing can be compared from then on."""
        with self._lock:
            self.reason = self.reason or "closed"
            self._stop()

    def __enter__(self) -> MathChecker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ready(self) -> _Process | None:
        """A process that waits for a pair; None, with the `reason`, where there can be none."""
        if self._process and not self._process.alive():
            self._stop()
        if self._process or self.reason:
            return self._process
        self.restarts += self._started
        self._started = True
        try:
            self._process = _Process(self._command)
        except OSError as error:
            self.reason = f"the worker cannot be started: {error}"
            return None
        reply = self._process.ask(None, self._start_timeout)
        if reply and reply.get("ready"):
            self._failed_starts = 0
            return self._process
        self._stop()
        self._failed_starts += 1
        if reply:
            self.reason = str(reply.get("reason"))
        elif self._failed_starts == _MAX_FAILED_STARTS:
            self.reason = f"the worker failed to start {_MAX_FAILED_STARTS} times"
        return None

    def _stop(self) -> None:
        if self._process:
            self._process.stop()
        self._process = None


class _Process:
    """A running worker and its pipes; ended at the latest with the interpreter."""

    def __init__(self, command: Sequence[str]) -> None:
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self.popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the parent, which then ends the worker
        )
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self._input, self._output = self.popen.stdin, self.popen.stdout
        self.owner = os.getpid()
        self.stop = weakref.finalize(self, _end, self.popen, self.owner)

    def alive(self) -> bool:
        return self.owner == os.getpid() and self.popen.poll() is None

    def ask(self, message: dict[str, str] | None, seconds: float) -> dict[str, Any] | None:
        """The reply to a message (None: the greeting); None if there is no sensible one within `seconds`."""
        deadline = time.monotonic() + seconds
        received = b""
        try:
            if message is not None:
                self._input.write(json.dumps(message).encode() + b"\n")
            with selectors.DefaultSelector() as selector:  # select() fails on the high descriptors of a busy server
                selector.register(self._output, selectors.EVENT_READ)
                while not received.endswith(b"\n"):
                    if not selector.select(max(deadline - time.monotonic(), 0)):
                        return None
                    if not (chunk := os.read(self._output.fileno(), 65_536)):
                        self.popen.wait(1)  # the pipe closes a moment before the process can be waited for
                        return None
                    received += chunk
            reply = json.loads(received)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None
        return reply if isinstance(reply, dict) else None


def _end(popen: subprocess.Popen[bytes], owner: int) -> None:
    for pipe in (popen.stdin, popen.stdout):
        if pipe:
            pipe.close()
    if owner == os.getpid():  # a forked child holds a copy of this object, but the worker is not its child
        popen.kill()
        popen.wait()


class _OutOfTimeError(BaseException):
    """Not an Exception, lest sympy or math-verify handle it."""


def _out_of_time(_signal: int, _frame: FrameType | None) -> None:
    raise _OutOfTimeError


def _limit_memory(size: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has this limit, or a lower one holds
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _compare(a: str, b: str) -> bool | None:
    """math-verify's verdict in either order, since its `verify` is not symmetric; None where one cannot be parsed.

    Only its LaTeX parser is used: the other one evaluates Python source.
    """
    from math_verify import LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig()]
    left, right = (parse(f"${form}$", config, fallback_mode="no_fallback", parsing_timeout=None) for form in (a, b))
    if not (left and right):
        return None
    return bool(verify(left, right, timeout_seconds=None) or verify(right, left, timeout_seconds=None))


def _reply(line: bytes, seconds: float) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_REAL, 0.8 * seconds)  # cheaper than being killed by the parent at 1.0
    try:
        pair = json.loads(line)
        return {"equal": _compare(pair["a"], pair["b"])}
    except _OutOfTimeError:
        return {"equal": None, "timeout": True}
    except Exception:
        return {"equal": None}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """The worker: answers pairs until standard input ends."""
    seconds, memory = float(sys.argv[1]), int(sys.argv[2])
    channel = os.dup(1)
    os.dup2(2, 1)  # whatever the libraries print must not mix with the replies
    logging.disable()
    _limit_memory(memory)
    signal.signal(signal.SIGALRM, _out_of_time)
    greeting: dict[str, Any] = {"ready": True}
    try:
        importlib.import_module("math_verify")
    except Exception as error:
        greeting = {"ready": False, "reason": f"math-verify cannot be imported: {error}"}
    os.write(channel, json.dumps(greeting).encode() + b"\n")
    for line in sys.stdin.buffer:
        # CPU time beyond any use ends the process even inside C code, also when no parent is left to kill it.
        signal.setitimer(signal.ITIMER_PROF, 4 * seconds + 1)
        os.write(channel, json.dumps(_reply(line, seconds)).encode() + b"\n")


if __name__ == "__main__":
    main()
