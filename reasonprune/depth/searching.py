"""`reasonprune depth search`: one tree search a question on a live engine. Resumable question by question."""

from __future__ import annotations

import asyncio
import gc
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.depth.bank import Bank, BankEntry
from reasonprune.depth.program import LayerProgram
from reasonprune.depth.search import SearchConfig, TreeSearch, front
from reasonprune.depth.trial import Bench, agreement_of, open_bench, right_of, tried, try_all
from reasonprune.depth.worth import speed_up, time_saved
from reasonprune.errors import PoolError
from reasonprune.lines import whole_lines

Reward = Literal["gold", "agreement", "draft"]
Progress = Callable[[str, int, int], None]
CANDIDATES = 8  # programs that are tried on every question, for the front and the bank


@dataclass(frozen=True)
class SearchRun:
    """`length_penalty`: the paper's lambda; `skip_only`: no layer is repeated, one of the paper's ablations.

    `reward`: `gold` is the paper's, an oracle that tries until the gold answer comes; `agreement` needs none.

    `draft`: the time that the program saves as the draft of speculation, by how many of the full model's tokens it
    would have drafted.
    """

    model: str
    reward: Reward
    simulations: int
    max_tokens: int
    seed: int
    length_penalty: float = 5.0
    skip_only: bool = False
    concurrency: int = 8

    @property
    def settings(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "concurrency"}


def search(data: Path, run: SearchRun, out: Path, limit: int | None, progress: Progress) -> tuple[dict[str, Any], Bank]:
    """Search every question of `data`, each line of `out` one; then try the best programs on all of them.

    Raises:
        PoolError: the data or what is in `out` cannot be used, or was searched with other settings.
        ModelError: the model cannot run layer programs.
    """
    questions = read_dataset(data, limit)
    rows = _searched(out, run)
    result = asyncio.run(_search(questions, rows, run, out, progress))
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart
    return result


def _searched(out: Path, run: SearchRun) -> dict[str, dict[str, Any]]:
    """Questions already in `out`; a half-written last line (an interrupted run) is cut off."""
    lines = whole_lines(out)
    try:
        rows = [json.loads(line) for line in lines]
        if any(row["settings"] != run.settings for row in rows):
            raise PoolError(f"{out} was searched with {rows[0]['settings']}; use the same settings or another --out.")
        return {row["question"]: row for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise PoolError(f"{out} exists and is not a search of ours ({error}); choose another --out.") from None


async def _search(
    questions: list[Question], rows: dict[str, dict[str, Any]], run: SearchRun, out: Path, progress: Progress
) -> tuple[dict[str, Any], Bank]:
    todo = [(i, question) for i, question in enumerate(questions) if question.question not in rows]
    done = len(questions) - len(todo)
    progress("searching", done, len(questions))
    out.parent.mkdir(parents=True, exist_ok=True)
    gate = asyncio.Semaphore(run.concurrency)
    async with open_bench(run.model, run.max_tokens) as bench:
        with out.open("a", encoding="utf-8") as file:

            async def one(index: int, question: Question) -> None:
                nonlocal done
                async with gate:
                    row = await search_question(bench, question, run, run.seed + index)
                rows[question.question] = row
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                done += 1
                progress("searching", done, len(questions))

            async with asyncio.TaskGroup() as group:
                for index, question in todo:
                    group.create_task(one(index, question))
        found = [rows[question.question] for question in questions]
        programs = candidates(found, bench.full)
        trial = agreement_of if run.reward == "draft" else right_of
        told = await try_all(bench, questions, programs, trial, lambda done, total: progress("trying", done, total))
    measured = {program: sum(column) / len(questions) for program, column in zip(programs, told, strict=True)}
    if run.reward == "draft":
        return draft_summary(found, measured, bench.full, run), draft_bank(measured, bench.full, run, len(questions))
    return summary(found, measured, bench.full, run), bank_of(measured, bench.full, run, len(questions))


async def search_question(bench: Bench, question: Question, run: SearchRun, seed: int) -> dict[str, Any]:
    """One tree search; a program that the tree proposes again is not run again."""
    asked = bench.ask(question)
    config = SearchConfig(
        longest=bench.support.slots,
        shortest=max(1, bench.support.layers // 3),
        length_penalty=run.length_penalty,
        repeats=not (run.skip_only or run.reward == "draft"),
    )
    tree = TreeSearch(bench.support.layers, config, random.Random(seed))
    full = await bench.answer(asked, bench.full)
    known: dict[LayerProgram, float] = {}
    for _ in range(run.simulations):
        program = tree.propose()
        if program not in known:
            if run.reward == "draft":
                agreed = await bench.agreement(asked, full.ids, program)
                known[program] = round(time_saved(agreed, program.cost / bench.full.cost), 4)
            else:
                reply = await tried(bench, asked, full, program)
                agrees = reply.answer is not None and reply.answer == full.answer
                known[program] = float(reply.right if run.reward == "gold" else agrees)
        tree.report(program, known[program])
    return {
        "question": question.question,
        "gold": question.gold,
        "settings": run.settings,
        "full_right": full.right,
        "tried": [[str(program), reward] for program, reward in known.items()],
    }


def candidates(rows: Sequence[dict[str, Any]], full: LayerProgram) -> list[LayerProgram]:
    """Full depth, and the programs that were rewarded most over all questions, the shorter first among equals."""
    rewarded: dict[LayerProgram, float] = {}
    for row in rows:
        for text, reward in row["tried"]:
            if reward:
                program = LayerProgram.parse(text)
                rewarded[program] = rewarded.get(program, 0.0) + reward
    rewarded.pop(full, None)
    order = sorted(rewarded, key=lambda program: (-rewarded[program], program.cost, program.layers))
    return [full, *order[:CANDIDATES]]


def draft_summary(
    rows: Sequence[dict[str, Any]], agreement: dict[LayerProgram, float], full: LayerProgram, run: SearchRun
) -> dict[str, Any]:
    """What drafts are worth: the best of each question, and the front of programs tried on all of them.

    `speed_up` is what the formula of `worth` makes of agreement and layers, not a measured time.
    """
    best = [max(reward for _, reward in row["tried"]) for row in rows]
    return {
        "reward": run.reward,
        "oracle": False,
        "simulations": run.simulations,
        "questions": len(rows),
        "model_layers": full.cost,
        "a_draft_pays": round(sum(saved > 0 for saved in best) / len(rows), 4),
        "best_speed_up": round(sum(1 / (1 - saved) for saved in best) / len(rows), 4),
        "front": [
            {
                "program": str(program),
                "layers": program.cost,
                "agreement": round(share, 4),
                "speed_up": round(speed_up(share, program.cost / full.cost), 4),
            }
            for program, share in front(agreement)
        ],
    }


def draft_bank(agreement: dict[LayerProgram, float], full: LayerProgram, run: SearchRun, questions: int) -> Bank:
    """The shorter programs of the front, named by their length; their accuracy as drafts is that of the full model."""
    source = f"front of a search with reward draft on {questions} questions"
    found = [program for program, _ in front(agreement) if program != full]
    entries = {f"draft{program.cost}": BankEntry(program=str(program), source=source) for program in found}
    return Bank(model=run.model, layers=full.cost, programs=entries)


def shortest(row: dict[str, Any]) -> LayerProgram | None:
    """The shortest program that was rewarded on this question."""
    rewarded = [LayerProgram.parse(text) for text, reward in row["tried"] if reward]
    return min(rewarded, key=lambda program: (program.cost, program.layers), default=None)


def summary(
    rows: Sequence[dict[str, Any]], accuracy: dict[LayerProgram, float], full: LayerProgram, run: SearchRun
) -> dict[str, Any]:
    """What the search found on the questions it searched, and the Pareto front of programs tried on all of them."""
    best = [shortest(row) for row in rows]
    right = [row["full_right"] for row in rows]
    kept = [program for program, ok in zip(best, right, strict=True) if ok]
    lost = [program for program, ok in zip(best, right, strict=True) if not ok]
    shorter = sum(program is not None and program.cost < full.cost for program in kept)
    costs = [program.cost for program in best if program]
    return {
        "reward": run.reward,
        "oracle": run.reward == "gold",
        "simulations": run.simulations,
        "length_penalty": run.length_penalty,
        "skip_only": run.skip_only,
        "questions": len(rows),
        "model_layers": full.cost,
        "full_accuracy": round(sum(right) / len(rows), 4),
        "right_with_a_shorter_program": round(shorter / max(1, len(kept)), 4),
        "wrong_mended": round(sum(program is not None for program in lost) / max(1, len(lost)), 4),
        "mean_shortest": round(sum(costs) / max(1, len(costs)), 2),
        "front": [
            {"program": str(program), "layers": program.cost, "accuracy": round(share, 4)}
            for program, share in front(accuracy)
        ],
    }


def bank_of(accuracy: dict[LayerProgram, float], full: LayerProgram, run: SearchRun, questions: int) -> Bank:
    """The shorter programs of the front, named by their length."""
    source = f"front of a search with reward {run.reward} on {questions} questions"
    entries = {
        f"layers{program.cost}": BankEntry(
            program=str(program), accuracy=round(share, 4), full_accuracy=round(accuracy[full], 4), source=source
        )
        for program, share in front(accuracy)
        if program != full
    }
    return Bank(model=run.model, layers=full.cost, programs=entries)


def plot(result: dict[str, Any], path: Path) -> None:
    """Accuracy over layers: the front, and full depth."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    points = result["front"]
    measure = "agreement" if result["reward"] == "draft" else "accuracy"
    axes.step([p["layers"] for p in points], [p[measure] for p in points], where="post", marker="o", label="front")
    axes.plot(result["model_layers"], result.get("full_accuracy", 1.0), "k*", markersize=12, label="full depth")
    axes.set_xlabel("layers run")
    axes.set_ylabel("tokens the full model would have written" if measure == "agreement" else measure)
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)
