"""Are layer programs in the engine what they are in transformers? Greedy, float32, token by token.

Usage: `python benchmarks/depth_identity.py --model MODEL --json RESULT`. MODEL `random-qwen3` is a small Qwen3 with
random weights and TinyReasoner's tokenizer, since no small Qwen3 comes in a package.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
from pathlib import Path
from typing import Any

from reasonprune.bench.provenance import provenance, write
from reasonprune.depth import LayerProgram
from reasonprune.depth.reference import ReferenceModel
from reasonprune.depth.request import ProgrammedEngine
from reasonprune.engine.offline import chat_prompt, open_engine, sampling
from reasonprune.models import resolve

TOKENS = 24
QUESTIONS = (
    "Start with 37, add 53, multiply by 7. What do you get?",
    "Start with 10, add 20, add 5. What do you get?",
    "Name three rivers of Europe and say where each of them ends.",
    "A shop sells 3 pens for $2. What do 12 pens cost? " * 6,
    "Write a function that returns the n-th Fibonacci number, and explain each line of it. " * 9,
    "Translate to French: the weather is fine today, and we are going to the sea.",
)


def programs_of(layers: int) -> list[LayerProgram]:
    """Full depth, a block skipped, layers here and there skipped, one and a block of layers repeated, an odd order."""
    third, last = layers // 3, layers - 1
    return [
        LayerProgram.full(layers),
        LayerProgram((*range(third), *range(2 * third, layers))),
        LayerProgram(tuple(layer for layer in range(layers) if layer == last or layer % 3 != 1)),
        LayerProgram((*range(third + 1), third, *range(third + 1, layers))),
        LayerProgram((*range(third + 2), *range(third, layers))),
        LayerProgram((*range(third), third + 1, third, *range(third + 2, layers))),
    ]


async def run(engine: Any, program: LayerProgram, full: LayerProgram, prompt: dict[str, Any], name: str) -> list[int]:
    runs = engine if program == full else ProgrammedEngine(engine, program)
    final = None
    async for output in runs.generate(prompt, sampling(0, 1, TOKENS, None, ignore_eos=True), name):
        final = output.outputs[0]
    assert final is not None
    return list(final.token_ids)


def random_qwen3(folder: str) -> str:
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(resolve("tiny").path)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=9,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=1024,
        initializer_range=0.2,  # large enough that layers matter to what comes next
        eos_token_id=2,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


async def measure(model: str) -> dict[str, Any]:
    reference = ReferenceModel(resolve(model).path)
    programs = programs_of(reference.layers)
    limits: dict[str, Any] = {"max_model_len": 1024, "kv_cache_memory_bytes": 512 << 20, "dtype": "float32"}
    async with open_engine(model, **limits) as engine:
        prompts = [chat_prompt(engine, question, model) for question in QUESTIONS]
        uniform = {
            program: await asyncio.gather(
                *(run(engine, program, programs[0], prompt, f"u-{program}-{i}") for i, prompt in enumerate(prompts))
            )
            for program in programs
        }
        pairs = [(program, i) for i in range(len(prompts)) for program in programs]
        mixed = await asyncio.gather(*(run(engine, p, programs[0], prompts[i], f"m-{p}-{i}") for p, i in pairs))
    rows = []
    for program in programs:
        expected = [
            reference.greedy(prompt["prompt_token_ids"], tokens, program)
            for prompt, tokens in zip(prompts, uniform[program], strict=True)
        ]
        together = [tokens for (other, _), tokens in zip(pairs, mixed, strict=True) if other == program]
        rows.append(
            {
                "program": str(program),
                "layers": program.cost,
                "prompts": len(prompts),
                "identical_uniform": sum(a == b for a, b in zip(uniform[program], expected, strict=True)),
                "identical_mixed": sum(
                    tokens == reference.greedy(prompt["prompt_token_ids"], tokens, program)
                    for prompt, tokens in zip(prompts, together, strict=True)
                ),
            }
        )
    return {"model_layers": reference.layers, "tokens": TOKENS, "dtype": "float32", "programs": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = random_qwen3(folder) if options.model == "random-qwen3" else options.model
        result = asyncio.run(measure(model))
    gc.collect()
    command = f"python benchmarks/depth_identity.py --model {options.model}"
    write(options.json, {**result, "provenance": {**provenance(None, None, options.model), "command": command}})
    print(result)


if __name__ == "__main__":
    main()
