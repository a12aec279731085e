"""What a router gains on questions it has not seen: programs in transformers, greedy, float32, many questions at once.

Usage: `python benchmarks/depth_router.py --model MODEL --data test.jsonl --programs 0-3,5/0-2,5 --json RESULT`.
The first `--seen` questions train the router and set its threshold, the next `--unseen` test it. `fit` and `score` are
those of `reasonprune train router`, which asks the engine; many questions at once cost less here.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from reasonprune.answers import AnswerClasses, MathChecker, extract_answer
from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.bench.provenance import portable, provenance, write
from reasonprune.depth import LayerProgram
from reasonprune.depth.router import features
from reasonprune.engine.chat import prompt_ids
from reasonprune.models import resolve
from reasonprune.train.router import Labels, RouterConfig, fit, score

MAX_TOKENS = 300
AT_ONCE = 50


class Answers:
    """Which questions a program answers right."""

    def __init__(self, model: str, checker: MathChecker) -> None:
        path = resolve(model).path
        self.tokenizer: Any = AutoTokenizer.from_pretrained(path, padding_side="left")
        self._model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self._layers = list(self._model.model.layers)
        self._classes = AnswerClasses(checker)

    @property
    def full(self) -> LayerProgram:
        return LayerProgram.full(len(self._layers))

    def prompt(self, question: Question) -> list[int]:
        return list(prompt_ids(self.tokenizer, [{"role": "user", "content": question.question}]))

    def right(self, questions: list[Question], program: LayerProgram) -> list[bool]:
        """By question."""
        self._model.model.layers = torch.nn.ModuleList(self._layers[number] for number in program.layers)
        self._model.config.num_hidden_layers = program.cost
        found = []
        for at in range(0, len(questions), AT_ONCE):
            block = questions[at : at + AT_ONCE]
            padded = self.tokenizer.pad({"input_ids": [self.prompt(q) for q in block]}, return_tensors="pt")
            with torch.inference_mode():
                output = self._model.generate(
                    **padded,
                    past_key_values=DynamicCache(),
                    max_new_tokens=MAX_TOKENS,
                    do_sample=False,
                    temperature=None,
                )
            texts = self.tokenizer.batch_decode(output[:, padded["input_ids"].shape[1] :], skip_special_tokens=True)
            for question, text in zip(block, texts, strict=True):
                answer = extract_answer(text)
                found.append(answer is not None and self._classes.add(answer) == self._classes.add(question.gold))
        print(f"{program}: {sum(found)} of {len(found)}", flush=True)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--programs", required=True, help="separated by a slash")
    parser.add_argument("--seen", type=int, default=200)
    parser.add_argument("--unseen", type=int, default=200)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    questions = read_dataset(options.data, options.seen + options.unseen)
    programs = sorted(map(LayerProgram.parse, options.programs.split("/")), key=lambda program: program.cost)
    with MathChecker() as checker:
        answers = Answers(options.model, checker)
        right = np.array([answers.right(questions, program) for program in [*programs, answers.full]], bool).T
        read = np.stack([features(answers.prompt(question)) for question in questions])
    seen = Labels(read[: options.seen], right[: options.seen])
    unseen = Labels(read[options.seen :], right[options.seen :])
    router, held_out = fit(seen, programs, answers.full.cost, RouterConfig(options.model, Path()))
    shares = right[options.seen :].mean(axis=0)
    result = {
        "programs": [str(program) for program in programs],
        "margin": router.margin,
        "held_out": held_out,
        "test": score(router, unseen),
        "always": [
            {"program": str(program), "layers": program.cost, "accuracy": round(float(share), 4)}
            for program, share in zip([*programs, answers.full], shares, strict=True)
        ],
        "provenance": {**provenance(0, options.data, portable(options.model))},
    }
    write(options.json, result)
    print(result["test"], result["always"])


if __name__ == "__main__":
    main()
