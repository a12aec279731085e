"""TinyReasoner: a 1.3-million-parameter Llama trained from scratch to reason about arithmetic, right and wrong.

It exists so that every policy can be tested on a real engine in seconds: it answers some problems rightly and some
wrongly, its traces differ in length, and a majority of its traces is better than one. The problems and solutions come
from `arithmetic.py`; nothing else goes in.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import shutil
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from reasonprune.train.arithmetic import (
    HARDEST,
    sample_hesitant_solution,
    sample_problem,
    sample_problems,
    sample_solution,
)

if TYPE_CHECKING:
    from torch import Tensor

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IGNORED = -100
TEST_SEED = 10_000
TEST_LEVELS = (3, 4, 5, HARDEST)  # levels 1 and 2 are solved by nearly every trace


@dataclass(frozen=True)
class Phase:
    """A stretch of training. `slip_rate`: share of computations that the training data gets wrong.

    `layer_dropout`: chance of each layer to be left out of a step; empty: none ever is. `batch_tokens`: unset, the
    configuration's.
    """

    steps: int
    learning_rate: float
    slip_rate: float
    hesitant: bool
    warmup_steps: int = 200
    layer_dropout: tuple[float, ...] = ()
    batch_tokens: int | None = None


@dataclass(frozen=True)
class TrainConfig:
    """How TinyReasoner is trained: first to calculate, then to slip and to hesitate as larger models do."""

    phases: tuple[Phase, ...] = (
        Phase(steps=6000, learning_rate=2e-3, slip_rate=0.02, hesitant=False),
        Phase(steps=2000, learning_rate=5e-4, slip_rate=0.05, hesitant=True),
    )
    batch_tokens: int = 4096
    seed: int = 0
    threads: int = 2
    layers: int = 6


# Later layers are missed least, the last one apart (LayerSkip, arXiv 2404.16710, raises the rate with depth as well).
LAYER_DROPOUT = Phase(
    steps=8000,
    learning_rate=1.5e-3,
    slip_rate=0.02,
    hesitant=True,
    layer_dropout=(0.0, 0.0, 0.0, 0.25, 0.5, 0.0),
)


# A smaller model that drafts for TinyReasoner, trained on problems drawn in the same way.
DRAFT = TrainConfig(
    phases=(Phase(steps=1200, learning_rate=2e-3, slip_rate=0.05, hesitant=True, batch_tokens=2048),),
    layers=2,
    threads=1,
)


def build_tokenizer(seed: int, vocab_size: int = 512) -> PreTrainedTokenizerFast:
    """Byte-level BPE, every digit a token of its own; any text can be encoded."""
    rng = random.Random(seed)
    problems = [sample_problem(rng) for _ in range(2000)]
    corpus = [p.question + "\n" + sample_solution(rng, p, 0.0) for p in problems]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 2,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    # Plain added tokens: skip_special_tokens must not remove them, reasoning parsers look for them in the text.
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in ("<think>", "</think>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, layers: int = 6) -> LlamaForCausalLM:
    """Layers of width 128 with head size 64, the smallest head that vLLM's CPU attention runs fast."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    # At these short lengths the CPU's fused attention is three times slower than plain matrix products.
    model.set_attn_implementation("eager")
    return model


Row = tuple[list[int], list[int]]
CHUNK = 2048  # problems drawn at a time, to be grouped by length


def groups_of_rows(
    tokenizer: PreTrainedTokenizerFast,
    phase: Phase,
    batch_tokens: int,
    seed: int,
    seen: set[str] | None = None,
    unlike: Container[str] = (),
) -> Iterator[list[Row]]:
    """Endless groups of (prompt ids, solution ids) of similar lengths, the same for the same seed.

    `seen` collects the questions that were drawn; those in `unlike` are left out.
    """
    rng = random.Random(seed)
    write = sample_hesitant_solution if phase.hesitant else sample_solution
    while True:
        examples = []
        for _ in range(CHUNK):
            problem = sample_problem(rng)
            if problem.question in unlike:
                continue
            if seen is not None:
                seen.add(problem.question)
            messages = [{"role": "user", "content": problem.question}]
            prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            examples.append((prompt, write(rng, problem, phase.slip_rate) + tokenizer.eos_token))
        prompts = tokenizer([prompt for prompt, _ in examples], add_special_tokens=False)["input_ids"]
        replies = tokenizer([reply for _, reply in examples], add_special_tokens=False)["input_ids"]
        rows = sorted(zip(prompts, replies, strict=True), key=lambda row: len(row[0]) + len(row[1]))
        groups: list[list[Row]] = [[]]
        for row in rows:
            if (len(groups[-1]) + 1) * (len(row[0]) + len(row[1])) > batch_tokens:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        yield from groups


def write_test_problems(out: Path, tokenizer: PreTrainedTokenizerFast, config: TrainConfig, count: int = 1000) -> None:
    """`test.jsonl`: problems of the harder levels in turn that training never saw."""
    seen: set[str] = set()
    for number, phase in enumerate(config.phases, 1):
        batch_tokens = phase.batch_tokens or config.batch_tokens
        groups = groups_of_rows(tokenizer, phase, batch_tokens, config.seed + number, seen)
        for _ in itertools.islice(groups, phase.steps):
            pass
    problems = sample_problems(config.seed + TEST_SEED, count, TEST_LEVELS, unlike=seen)
    with (out / "test.jsonl").open("w", encoding="utf-8") as file:
        for problem in problems:
            row = {"question": problem.question, "gold": str(problem.answer), "level": problem.level}
            file.write(json.dumps(row) + "\n")


def _padded(group: list[Row], pad: int) -> tuple[Tensor, Tensor]:
    width = max(len(prompt) + len(reply) for prompt, reply in group)
    ids = torch.full((len(group), width), pad)
    labels = torch.full((len(group), width), IGNORED)
    for i, (prompt, reply) in enumerate(group):
        row = torch.tensor(prompt + reply)
        ids[i, : len(row)] = row
        labels[i, len(prompt) : len(row)] = row[len(prompt) :]
    return ids, labels


def learning_rate_at(step: int, phase: Phase) -> float:
    """Linear warm-up, then cosine down to a twentieth."""
    if step < phase.warmup_steps:
        return phase.learning_rate * (step + 1) / phase.warmup_steps
    progress = (step - phase.warmup_steps) / max(1, phase.steps - phase.warmup_steps)
    return phase.learning_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)


def train(out: Path, config: TrainConfig, begin_with: Path | None = None) -> None:
    """Train and save to `out` in Hugging Face format (bfloat16 safetensors), `training.json` and `test.jsonl` beside.

    Each phase is saved when it ends; `begin_with` is such a folder, whose phases are not run again.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    tokenizer = build_tokenizer(config.seed)
    model, done = build_model(tokenizer, config.layers), list[dict[str, object]]()
    if begin_with is not None:
        model.load_state_dict(LlamaForCausalLM.from_pretrained(begin_with, dtype=torch.float32).state_dict())
        done = json.loads((begin_with / "training.json").read_text())["phases"]
    for number, phase in enumerate(config.phases[len(done) :], len(done) + 1):
        done.append(_run_phase(model, tokenizer, phase, number, config))
        save(out, model, tokenizer, config, done)
    write_test_problems(out, tokenizer, config)


def train_to_miss_layers(out: Path, begin_with: Path, phase: Phase = LAYER_DROPOUT, seed: int = 0) -> None:
    """A phase with layer dropout on top of the model in `begin_with`, whose test problems it does not see."""
    torch.manual_seed(seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(begin_with)
    model = build_model(tokenizer)
    model.load_state_dict(LlamaForCausalLM.from_pretrained(begin_with, dtype=torch.float32).state_dict())
    done = json.loads((begin_with / "training.json").read_text())["phases"]
    lines = (begin_with / "test.jsonl").read_text(encoding="utf-8").splitlines()
    config = TrainConfig(phases=(*TrainConfig.phases, phase), seed=seed, threads=1)
    torch.set_num_threads(config.threads)
    unlike = frozenset(json.loads(line)["question"] for line in lines)
    done.append(_run_phase(model, tokenizer, phase, len(done) + 1, config, unlike))
    save(out, model, tokenizer, config, done)
    shutil.copyfile(begin_with / "test.jsonl", out / "test.jsonl")


@contextmanager
def layers_left_out(model: LlamaForCausalLM, rates: tuple[float, ...], rng: random.Random) -> Iterator[None]:
    """Within, `model` runs without the layers that chance takes from it."""
    every = model.model.layers
    kept = [layer for layer, rate in zip(every, rates, strict=True) if rng.random() >= rate] if rates else every
    model.model.layers = torch.nn.ModuleList(kept)
    # transformers runs as many layers as the configuration says, whatever the list holds.
    model.config.num_hidden_layers = len(kept)
    try:
        yield
    finally:
        model.model.layers = every
        model.config.num_hidden_layers = len(every)


def _run_phase(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    phase: Phase,
    number: int,
    config: TrainConfig,
    unlike: Container[str] = (),
) -> dict[str, object]:
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], betas=(0.9, 0.98)
    )
    batch_tokens = phase.batch_tokens or config.batch_tokens
    groups = groups_of_rows(tokenizer, phase, batch_tokens, config.seed + number, unlike=unlike)
    chance = random.Random(config.seed)
    began, trained_tokens, smooth = time.monotonic(), 0, math.nan
    model.train()
    # The whole model would be compiled anew for every choice of layers; a layer is the same code in all of them.
    compiled = model if phase.layer_dropout else torch.compile(model, dynamic=True)
    for layer in model.model.layers if phase.layer_dropout else ():
        layer.compile(dynamic=True)
    bar = tqdm(range(phase.steps), desc=f"TinyReasoner, phase {number}", mininterval=5)
    for step in bar:
        ids, labels = _padded(next(groups), tokenizer.pad_token_id)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, phase)
        with layers_left_out(model, phase.layer_dropout, chance), torch.autocast("cpu", dtype=torch.bfloat16):
            loss = compiled(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        trained_tokens += int((labels != IGNORED).sum())
        smooth = loss.item() if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss.item()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{smooth:.3f}")
    seconds = round(time.monotonic() - began)
    return {"steps": phase.steps, "trained_tokens": trained_tokens, "final_loss": round(smooth, 4), "seconds": seconds}


def save(
    out: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    config: TrainConfig,
    phases: list[dict[str, object]],
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config.update(do_sample=True, temperature=0.7, top_p=1.0)
    model.save_pretrained(out, state_dict={name: t.to(torch.bfloat16) for name, t in model.state_dict().items()})
    (out / "model.safetensors").chmod(0o644)  # safetensors writes for its owner only
    tokenizer.save_pretrained(out)
    saved = json.loads((out / "config.json").read_text())
    saved["dtype"] = "bfloat16"
    (out / "config.json").write_text(json.dumps(saved, indent=2) + "\n")
    provenance = {
        "config": asdict(config),
        "parameters": model.num_parameters(),
        "phases": phases,
        "torch": torch.__version__,
    }
    (out / "training.json").write_text(json.dumps(provenance, indent=2) + "\n")
