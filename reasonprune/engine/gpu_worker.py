"""Our worker for GPUs: vLLM's worker with a model runner that fuses drafts with retrieval and activates LoRAs.

Set by `reasonprune serve` where speculation is configured; for plain vLLM
`--worker-cls reasonprune.engine.gpu_worker.GPUWorker --no-async-scheduling`.
"""

from __future__ import annotations

from vllm.v1.worker.gpu_model_runner import GPUModelRunner as VllmGPUModelRunner
from vllm.v1.worker.gpu_worker import Worker as VllmWorker

from reasonprune.engine.activated_lora import ActivatedLoraRunner, share_prefixes
from reasonprune.speculative.runner import SpeculativeRunner, SpeculativeWorker


class GPUModelRunner(ActivatedLoraRunner, SpeculativeRunner, VllmGPUModelRunner):  # type: ignore[misc]
    """vLLM's runner, with another draft and other places where a LoRA acts."""


class GPUWorker(SpeculativeWorker, VllmWorker):  # type: ignore[misc]
    """vLLM's worker, with our runner. Not tried on a GPU yet."""

    def init_device(self) -> None:
        share_prefixes()
        super().init_device()
        self.model_runner = GPUModelRunner(self.vllm_config, self.device)
