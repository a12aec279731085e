"""Drafting replayed against answers that are known, without an engine: what greedy verification would accept of it.

Usage: `python benchmarks/draft_replay.py RECORDED --model demo --half report --json RESULT`

RECORDED comes from `draft_record.py`. Verification is lossless, so the answers are the same whatever is drafted, and a
step is simulated exactly; only its time is a model, the table of `--step-ms`, to which the drafter's own measured time
is added. `develop` and `report` are prompts in turn, so that rules can be made on one half and reported on the other.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonprune.bench.provenance import provenance, write
from reasonprune.bench.speculative import METHODS
from reasonprune.speculative.acceptance import Acceptance
from reasonprune.speculative.datastore import Datastore
from reasonprune.speculative.drafting import Drafter, Ngram, Row

HALVES = ("develop", "report", "all")
NGRAM_MATCH, NGRAM_TOKENS = (2, 4), 5  # as the live benchmark


@dataclass(frozen=True)
class Answer:
    """A recorded turn."""

    task: str
    prompt: NDArray[np.int32]
    output: NDArray[np.int32]

    @property
    def text(self) -> NDArray[np.int32]:
        return np.concatenate([self.prompt, self.output])


@dataclass
class Tally:
    """Of one method. `seconds`: modelled steps and measured drafting."""

    seconds: float = 0.0
    drafting: list[float] = field(default_factory=list)
    acceptance: Acceptance = field(default_factory=Acceptance)

    def as_json(self, base: Tally) -> dict[str, Any]:
        counted, times = self.acceptance, sorted(self.drafting)
        drafted, accepted = sum(counted.drafted.values()), sum(counted.accepted.values())
        return {
            "of_base": round(base.seconds / self.seconds, 3),
            "acceptance_length": round(counted.length, 3),
            "steps": counted.steps,
            "drafted_per_step": round(drafted / counted.steps, 3),
            "accepted_share": round(accepted / drafted, 3) if drafted else 0.0,
            "drafting_p50_ms": round(1000 * times[len(times) // 2], 3),
            "drafting_p99_ms": round(1000 * times[int(len(times) * 0.99)], 3),
            "drafted": dict(counted.drafted),
            "accepted": dict(counted.accepted),
            "accepted_at": counted.accepted_at,
        }


class Replay:
    """One drafter a method, and the clock of the engine that it drafts for."""

    def __init__(self, step_ms: Sequence[tuple[int, float]], longest: int, store: Datastore | None) -> None:
        self._knots = np.array([tokens for tokens, _ in step_ms], float)
        self._times = np.array([milliseconds / 1000 for _, milliseconds in step_ms])
        self._longest = longest
        self._store = store

    def seconds(self, tokens: int) -> float:
        """Of a forward step, linear between the knots and beyond the last two."""
        knots, times = self._knots, self._times
        if tokens > knots[-1] and len(knots) > 1:
            slope = (times[-1] - times[-2]) / (knots[-1] - knots[-2])
            return float(times[-1] + slope * (tokens - knots[-1]))
        return float(np.interp(tokens, knots, times))

    def play(self, method: str, blocks: Sequence[Sequence[Answer]]) -> tuple[Tally, dict[str, Tally]]:
        """All blocks one after the other, the answers of a block at once."""
        drafter = Drafter(self._longest, self._store, ngram=ngram())
        total, tasks = Tally(), dict[str, Tally]()
        for number, block in enumerate(blocks):
            task = tasks.setdefault(block[0].task, Tally())
            spent, times = self._block(drafter, method, number, block)
            counted = drafter.take(lambda key: True)
            for tally in (total, task):
                tally.seconds += spent
                tally.drafting += times
                tally.acceptance.merge(counted)
        return total, tasks

    def _block(self, drafter: Drafter, method: str, number: int, block: Sequence[Answer]) -> tuple[float, list[float]]:
        wish = METHODS[method]
        texts = [answer.text for answer in block]
        # The first token comes from the prompt's own pass.
        ats = [len(answer.prompt) + 1 for answer in block]
        spent, times = 0.0, list[float]()
        step: float | None = None
        verified: int | None = None
        going = list(range(len(block)))
        while going:
            rows = [Row((number, i), texts[i][: ats[i]], len(texts[i]) - ats[i] - 1, wish) for i in going]
            began = time.thread_time()  # wall-clock would hold what else the machine does
            drafts = drafter.propose(rows, step, verified)
            times.append(time.thread_time() - began)
            for i, draft in zip(going, drafts, strict=True):
                ats[i] += _agreeing(draft, texts[i][ats[i] :]) + 1
            verified = len(going) + sum(map(len, drafts))
            step = self.seconds(verified)
            spent += step + times[-1]
            ended = [i for i in going if ats[i] >= len(texts[i])]
            if ended:
                drafter.propose([Row((number, i), texts[i], 0, wish) for i in ended])  # settles their last step
                for i in ended:
                    drafter.finish((number, i), block[i].output)
            going = [i for i in going if i not in ended]
        return spent, times


def _agreeing(draft: Sequence[int], text: NDArray[np.int32]) -> int:
    """Draft tokens that are accepted; the last token of the text is never a draft's."""
    accepted = 0
    while accepted < min(len(draft), len(text) - 1) and draft[accepted] == text[accepted]:
        accepted += 1
    return accepted


def ngram() -> Ngram:
    """vLLM's own rule."""
    from vllm.v1.spec_decode.ngram_proposer import _find_longest_matched_ngram_and_propose_tokens as propose

    least, most = NGRAM_MATCH
    return lambda tokens, longest: propose(tokens, least, most, 1 << 20, min(longest, NGRAM_TOKENS)).tolist()


def read(path: Path, half: str) -> list[Answer]:
    """The answers of a half; of the prompts of each task, every second one belongs to a half."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    seen: dict[str, int] = {}
    answers = []
    for _, turns in groupby(rows, lambda row: row["prompt"]):
        prompt = list(turns)
        task = prompt[0]["task"]
        place = seen[task] = seen.get(task, -1) + 1
        if half == "all" or HALVES[place % 2] == half:
            answers += [
                Answer(task, np.asarray(row["prompt_ids"], np.int32), np.asarray(row["token_ids"], np.int32))
                for row in prompt
                if len(row["token_ids"]) > 1
            ]
    return answers


def blocks_of(answers: Sequence[Answer], size: int) -> list[list[Answer]]:
    """Blocks of up to `size` answers of one task, tasks in turn."""
    waiting: dict[str, list[Answer]] = {}
    blocks = []
    for answer in answers:
        block = waiting.setdefault(answer.task, [])
        block.append(answer)
        if len(block) == size:
            blocks.append(waiting.pop(answer.task))
    return blocks + list(waiting.values())


def step_table(text: str) -> list[tuple[int, float]]:
    """`1:50,2:55,...`: tokens of a step and its milliseconds."""
    pairs = (pair.split(":") for pair in text.split(","))
    return sorted((int(tokens), float(milliseconds)) for tokens, milliseconds in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recorded", type=Path)
    parser.add_argument("--model", required=True, help="that answered; for the record only")
    parser.add_argument("--half", choices=HALVES, default="report")
    parser.add_argument("--methods", default="base,ngram,suffix,rasd")
    parser.add_argument("--draft-tokens", type=int, default=12)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--step-ms", type=step_table, required=True, help="tokens:milliseconds,... of a forward step")
    parser.add_argument("--datastore", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    answers = read(options.recorded, options.half)
    replay = Replay(options.step_ms, options.draft_tokens, Datastore(options.datastore) if options.datastore else None)
    blocks = blocks_of(answers, options.concurrency)
    names = list(dict.fromkeys(["base", *options.methods.split(",")]))
    played = {name: replay.play(name, blocks) for name in names}
    base, base_tasks = played["base"]
    result = {
        "answers": len(answers),
        "half": options.half,
        "concurrency": options.concurrency,
        "longest_draft": options.draft_tokens,
        "step_ms": dict(options.step_ms),
        "datastore": options.datastore.name if options.datastore else None,
        "methods": {name: total.as_json(base) for name, (total, _) in played.items()},
        "tasks": {
            task: {name: tasks[task].as_json(base_tasks[task]) for name, (_, tasks) in played.items()}
            for task in sorted(base_tasks)
        },
    }
    for task, methods in {"all": result["methods"], **result["tasks"]}.items():
        for name, found in methods.items():
            print(
                f"{task:14} {name:10} {found['of_base']:6.3f} {found['acceptance_length']:6.3f}"
                f" drafted {found['drafted_per_step']:6.3f} accepted {found['accepted_share']:.3f}"
                f" ms {found['drafting_p50_ms']:.2f} {found['drafting_p99_ms']:.2f}"
            )
    if options.json is not None:
        write(options.json, {**result, "provenance": provenance(None, options.recorded, options.model)})


if __name__ == "__main__":
    main()
