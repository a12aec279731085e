"""Our worker: vLLM's CPU worker with a model runner on which seeded requests are safe, and layer programs and value
heads run.

vLLM rewinds the generator of a seeded request after a partial prefill, whose sampled token is thrown away. CPU
generators cannot be rewound by offset; vLLM 0.32 raises, which ends the engine for every user.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from vllm.v1.worker.cpu_model_runner import CPUModelRunner as VllmCPUModelRunner
from vllm.v1.worker.cpu_worker import CPUWorker as VllmCPUWorker

from reasonprune.depth.models import register
from reasonprune.depth.runner import DepthRunner
from reasonprune.engine import cpu_lora
from reasonprune.engine.activated_lora import ActivatedLoraRunner, share_prefixes
from reasonprune.engine.value_head import HeadRunner, HeadWorker
from reasonprune.speculative.runner import SpeculativeRunner, SpeculativeWorker


class CPUModelRunner(
    ActivatedLoraRunner,
    HeadRunner,
    DepthRunner,
    SpeculativeRunner,
    VllmCPUModelRunner,  # type: ignore[misc]
):
    """Rewinds by seeding anew: before the first token is kept, that is where the generator stood."""

    def _bookkeeping_sync(self, *args: Any, **kwargs: Any) -> Any:
        batch = self.input_batch
        discarded = np.nonzero(self.discard_request_mask.np[: batch.num_reqs])[0]
        aside = {int(row): batch.generators.pop(int(row)) for row in discarded if int(row) in batch.generators}
        try:
            return super()._bookkeeping_sync(*args, **kwargs)
        finally:
            for row, generator in aside.items():
                request = self.requests[batch.req_ids[row]]
                # A request resumed after preemption keeps its generator as it is: its later tokens differ from an
                # undisturbed run, which vLLM does not promise anyway.
                if not request.output_token_ids:
                    generator.manual_seed(request.sampling_params.seed)
                batch.generators[row] = generator


class CPUWorker(HeadWorker, SpeculativeWorker, VllmCPUWorker):  # type: ignore[misc]
    """Set by `reasonprune serve` on CPU; `--worker-cls reasonprune.engine.worker.CPUWorker` for plain vLLM."""

    def init_device(self) -> None:
        register()
        cpu_lora.mend()
        share_prefixes()
        super().init_device()
        self.model_runner = CPUModelRunner(self.vllm_config, torch.device("cpu"))
