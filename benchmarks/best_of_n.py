"""`best_of_n` on recorded TinyReasoner traces: accuracy against mean samples and tokens, for n from 1 to 16.

python benchmarks/best_of_n.py POOL HEAD [--questions 60] [--reshuffles 16]

Traces of questions that HEAD was not trained on are scored as the engine's worker would score them (transformers gives
the same hidden states), then every policy is replayed on the same orders of the same traces. Annealing is off, since
all traces of a pool were sampled at one temperature.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from reasonprune.bench.pool import replay
from reasonprune.bench.provenance import provenance, write
from reasonprune.engine.pool import RecordedQuestion, read_pool
from reasonprune.models import resolve
from reasonprune.policy_options import BestOfNOptions, ConsensusOptions, PolicyOptions, SelfConsistencyOptions
from reasonprune.selfeval.head import ValueHead, scores_of, with_trails
from reasonprune.selfeval.trained import describe
from reasonprune.train.samples import SampledQuestion, read_samples
from reasonprune.train.self_eval_states import last_states

HERE = Path(__file__).parent
EVERY = 16  # tokens between two scores of a trace
SIZES = (1, 2, 3, 4, 6, 8, 12, 16)
THRESHOLDS = (0.6, 0.7, 0.8, 0.9, 0.92, 0.94, 0.95, 0.97, 0.99)
PRUNINGS: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...] = (  # one share for all lengths, or one each
    ((16,), (0.5,)),
    ((32,), (0.25,)),
    ((32,), (0.5,)),
    ((48,), (0.1875,)),
    ((48,), (0.25,)),
    ((64,), (0.25,)),
    ((16, 32), (0.5,)),
    ((16, 48), (0.5,)),
    ((32, 64), (0.5,)),
    ((16, 32, 64), (0.5,)),
    ((32, 64), (0.25, 0.5)),
    ((32, 64, 96), (0.5,)),
)
WHOLE = "all 16, majority"  # what is drawn and voted on without a value head; all else is compared with it
SEED = 0


def scored(model: Any, head: ValueHead, sampled: SampledQuestion, recorded: RecordedQuestion) -> RecordedQuestion:
    """The question with a score of each trace at every `EVERY` tokens and at its end."""
    traces = []
    for sample, trace in zip(sampled.samples, recorded.traces, strict=True):
        with torch.inference_mode():
            states = last_states(model, [[*sampled.prompt_ids, *sample.token_ids]])[0]
        # The last token ends the trace and is never read; the state before it is the last there is.
        places = [*range(EVERY, len(sample.token_ids) - 1, EVERY), len(sample.token_ids) - 1]
        at_places = states[[len(sampled.prompt_ids) + at - 1 for at in places]]
        rows = with_trails(at_places, [sample.logprobs[:at] for at in places])
        ended = torch.tensor([sample.ended and at == places[-1] for at in places])
        values = scores_of(head.values(rows, ended).tolist())
        at_tokens = [*places[:-1], trace.tokens]
        traces.append(replace(trace, scores=dict(zip(at_tokens, values, strict=True))))
    return replace(recorded, traces=tuple(traces))


def policies() -> dict[str, PolicyOptions]:
    """By name; those of `best_of_n` with its defaults but for annealing and the setting that is named."""
    found: dict[str, PolicyOptions] = {}
    base: dict[str, Any] = {"self_eval": "head", "anneal": False}
    for n in SIZES:
        found[f"self_consistency n {n}"] = SelfConsistencyOptions(n=n)
        found[f"best_of_n n {n}"] = BestOfNOptions(n=n, **base)
        if n >= 4:
            found[f"consensus n {n}"] = ConsensusOptions(n=n)
    for threshold in THRESHOLDS:
        found[f"best_of_n threshold {threshold}"] = BestOfNOptions(n=16, threshold=threshold, **base)
    for n in (4, 8, 16):
        for select in ("score", "majority", "weighted"):
            whole = {**base, "waves": "all", "threshold": 1.0, "select": select}
            found[f"all {n}, {select}"] = BestOfNOptions(n=n, **whole)
    for lengths, keep in PRUNINGS:
        shares, places = (" and ".join(map(str, values)) for values in (keep, lengths))
        each = keep * len(lengths) if len(keep) == 1 else keep
        pruned = {**base, "waves": "all", "threshold": 1.0, "prune_at": list(lengths), "keep": list(each)}
        found[f"all 16, pruned to {shares} at {places}"] = BestOfNOptions(n=16, **pruned)
    return found


def paired(runs: NDArray[np.float64], whole: NDArray[np.float64]) -> dict[str, float]:
    """The difference of two policies on the same questions, each run [questions, orders], and its standard error."""
    gains = (runs - whole).mean(1)
    error = gains.std(ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else math.nan
    return {"gain": round(float(gains.mean()), 5), "gain_error": round(float(error), 5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("head", type=Path)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--reshuffles", type=int, default=16)
    arguments = parser.parse_args()
    seen = set(describe(arguments.head)["training"]["seen"])
    name, sampled = read_samples(arguments.pool)
    unseen = [
        pair
        for pair in zip(sampled, read_pool(arguments.pool), strict=True)
        if pair[0].digest not in seen and len(pair[0].samples) == len(pair[1].traces) >= max(SIZES)
    ][: arguments.questions]
    model = AutoModelForCausalLM.from_pretrained(resolve(name).path, dtype="float32").eval()
    head = ValueHead.load(arguments.head)
    questions = [scored(model, head, *pair) for pair in unseen]
    orders = [
        (q, random.Random(f"{SEED}/{i}/{r}").sample(q.traces, max(SIZES)))
        for i, q in enumerate(questions)
        for r in range(arguments.reshuffles)
    ]

    correct: dict[str, NDArray[np.float64]] = {}

    async def run(name: str, options: PolicyOptions) -> dict[str, float]:
        runs = [await replay(options, question, order) for question, order in orders]
        correct[name] = np.array([float(r.correct) for r in runs]).reshape(len(questions), -1)
        return {
            "accuracy": round(float(correct[name].mean()), 5),
            "total_tokens": round(sum(r.total_tokens for r in runs) / len(runs), 1),
            "sequential_tokens": round(sum(r.sequential_tokens for r in runs) / len(runs), 1),
            "samples": round(sum(r.started for r in runs) / len(runs), 3),
        }

    rows = {name: asyncio.run(run(name, options)) for name, options in policies().items()}
    for name, found in rows.items():
        found |= paired(correct[name], correct[WHOLE])
    write(
        HERE / "results" / "best-of-n.json",
        {
            "questions": len(questions),
            "reshuffles": arguments.reshuffles,
            "rows": rows,
            "provenance": provenance(SEED, arguments.pool, name),
        },
    )


if __name__ == "__main__":
    main()
