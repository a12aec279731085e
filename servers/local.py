"""One server on this machine: `reasonprune serve` with settings that suit a laptop where there is no GPU.

Any flag given on the command line goes before these defaults.
"""

from __future__ import annotations

import os
import shutil
import sys

from reasonprune.cli import main

CPU_DEFAULTS = {
    "--max-model-len": "auto",  # as much of the model's own as the KV cache holds
    "--max-num-seqs": "64",
    "--block-size": "32",  # vLLM's 128 on CPU keeps most of a prompt out of the prefix cache
    "--kv-cache-memory-bytes": str(2 << 30),
    # vLLM turns plain `uni` into `mp` on CPUs, whose engine process spins on a core while it waits for its worker.
    "--distributed-executor-backend": "vllm.v1.executor.uniproc_executor.UniProcExecutor",
}


def arguments(given: list[str], gpu: bool) -> list[str]:
    """The command line with defaults for CPU filled in."""
    if gpu:
        return given
    named = {argument.partition("=")[0] for argument in given}
    filled = [word for flag, value in CPU_DEFAULTS.items() if flag not in named for word in (flag, value)]
    eager = [] if "--enforce-eager" in named or "--no-enforce-eager" in named else ["--enforce-eager"]
    return [*given, *filled, *eager]


def run() -> None:
    gpu = shutil.which("nvidia-smi") is not None
    if not gpu:
        # Pinned threads of two engines on one machine starve each other, and compiling saves less than it costs here.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
        os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    sys.argv = ["reasonprune", "serve", *arguments(sys.argv[1:], gpu)]
    main()


if __name__ == "__main__":
    run()
