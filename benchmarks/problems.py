"""More problems like TinyReasoner's test problems, none of which is among those: where 1,000 are too few to tell.

Usage: `python benchmarks/problems.py COUNT --seed SEED --out FILE`, then `reasonprune record FILE --model tiny ...`
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from reasonprune.bench.dataset import read_dataset
from reasonprune.models import resolve
from reasonprune.train.arithmetic import sample_problems
from reasonprune.train.tiny_reasoner import TEST_LEVELS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    known = {question.question for question in read_dataset(Path(resolve("tiny").path) / "test.jsonl")}
    with arguments.out.open("w", encoding="utf-8") as file:
        for problem in sample_problems(arguments.seed, arguments.count, TEST_LEVELS, unlike=known):
            row = {"question": problem.question, "gold": str(problem.answer), "level": problem.level}
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
