"""Our workers by name, as vLLM's `--worker-cls` takes them; naming one imports nothing."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SEED_WORKER = "reasonprune.engine.worker.CPUWorker"
GPU_WORKER = "reasonprune.engine.gpu_worker.GPUWorker"
OURS = (SEED_WORKER, GPU_WORKER)
VARIABLE = "REASONPRUNE_WORKER"
"""Set where the engine's worker is ours; its processes inherit it."""


def announce(worker: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Tell the processes of an engine that is about to start whose worker it has."""
    environ[VARIABLE] = "1" if worker in OURS else ""
