"""A TinyReasoner that says too much: detours, and checks of what was right already. What `train cot` is measured on."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

from reasonprune.train.arithmetic import Problem, Writer, sample_problem, written
from reasonprune.train.sft import Example, SftConfig, fine_tune

DETOURS = (
    "Maybe the order does not matter. No, it does.",
    "Let me think about what was asked.",
    "Hmm, is there a shorter way? I see none.",
    "I should keep track of the value.",
)


@dataclass(frozen=True)
class VerboseConfig:
    """How TinyReasoner is made verbose: full fine-tuning on solutions with detours and repeated checks.

    `chains`: further such solutions, written beside the model for `reasonprune compress` and `train cot`.
    """

    examples: int = 4000
    steps: int = 500
    learning_rate: float = 7e-4
    batch_tokens: int = 2048
    chains: int = 1200
    seed: int = 0


def verbose_solution(rng: random.Random, problem: Problem) -> str:
    """A right solution in which nearly every step is checked, some are led astray, and the end goes over it all."""
    writer = Writer(rng, 0.0)
    value, steps = problem.start, list[str]()
    for op, operand in problem.operations:
        if rng.random() < 0.35:
            steps.append(rng.choice(DETOURS))
        step, after = writer.careful(op, value, operand)
        steps.append(step)
        if rng.random() < 0.6:
            steps.append(f"Let me check: {value}{op}{operand}={after}. Yes.")
        value = after
    if rng.random() < 0.8:
        again, value = writer.chain(problem, "direct")
        steps += ["Wait, let me check all of it.", *again]
    steps.append(f"So it is {value}.")
    return written(steps, value)


def _write_data(file: Path, rng: random.Random, count: int) -> None:
    with file.open("w", encoding="utf-8") as out:
        for _ in range(count):
            problem = sample_problem(rng)
            row = {"question": problem.question, "gold": str(problem.answer), "text": verbose_solution(rng, problem)}
            out.write(json.dumps(row) + "\n")


def train_verbose(out: Path, config: VerboseConfig) -> None:
    """Saves the verbose model to `out` in Hugging Face format, `training.json` and `train.jsonl` beside it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from reasonprune.models import resolve

    base = resolve("tiny").path
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    rng = random.Random(f"verbose-{config.seed}")
    examples = [
        Example([{"role": "user", "content": problem.question}], verbose_solution(rng, problem))
        for problem in (sample_problem(rng) for _ in range(config.examples))
    ]
    sft = SftConfig(config.steps, config.learning_rate, config.batch_tokens, config.seed)
    report = fine_tune(model, tokenizer, examples, sft, "verbose TinyReasoner")
    out.mkdir(parents=True, exist_ok=True)
    _write_data(out / "train.jsonl", rng, config.chains)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "training.json").write_text(json.dumps({"config": asdict(config), **report}, indent=2) + "\n")
