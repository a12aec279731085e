"""Articles of SQuAD's development set that are not in XQuAD's file at hand, to calibrate a pruner on and to test it.

`python benchmarks/unseen_articles.py src-dev.txt --titles doclist-dev.txt --leave-out xquad.en.json --out FOLDER`

`src-dev.txt` and `tgt-dev.txt` are Du et al.'s (ACL 2017): a sentence a line and a question that it answers, article
after article in the order of `doclist-dev.txt`, but without marks between them. Where an article ends is found by
likeness to the titles; sentences near such a place are not used. Contexts are runs of three to seven sentences.
`FOLDER` gets `squad-dev-calib.jsonl` (half of the articles) and `squad-dev-test.jsonl` (the other half).
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonprune.pruner.embedding import Embedder
from reasonprune.train.evidence import untokenized

MARGIN = 4  # sentences on both sides of a boundary
WIDTHS = 3, 7
QUESTIONS = 800  # of a file


def boundaries(likeness: NDArray[np.float64]) -> list[int]:
    """Where each title's run of sentences begins, and the end: the runs, in order, that are most like their titles.

    `likeness`: (sentences, titles).
    """
    count, titles = likeness.shape
    sums = np.vstack([np.zeros(titles), np.cumsum(likeness, axis=0)])
    best = np.full((count + 1, titles + 1), -np.inf)
    begins = np.zeros((count + 1, titles + 1), int)
    best[0, 0] = 0.0
    for title in range(titles):
        gained = best[:, title] - sums[:, title]
        for end in range(1, count + 1):
            begin = begins[end - 1, title + 1] if end > 1 else 0
            begins[end, title + 1] = begin if gained[begin] >= gained[end - 1] else end - 1
        best[1:, title + 1] = gained[begins[1:, title + 1]] + sums[1:, title]
    found = [count]
    for title in range(titles, 0, -1):
        found.append(int(begins[found[-1], title]))
    return found[::-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--titles", type=Path, required=True)
    parser.add_argument("--leave-out", type=Path, required=True, help="in SQuAD's shape")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sources = options.sources.read_text(encoding="utf-8").splitlines()
    targets = options.sources.with_name("tgt-dev.txt").read_text(encoding="utf-8").splitlines()
    asked: dict[str, list[str]] = {}
    for source, target in zip(sources, targets, strict=True):
        asked.setdefault(source, []).append(untokenized(target))
    sentences = [untokenized(source) for source in asked]
    questions = list(asked.values())
    titles = options.titles.read_text(encoding="utf-8").split()
    names = [title.replace("_", " ") for title in titles]

    shown = [f"{text} {' '.join(own[:2])}" for text, own in zip(sentences, questions, strict=True)]
    vectors = Embedder("minilm").vectors([*shown, *names])
    likeness = np.stack([vectors[one].numpy() for one in shown]) @ np.stack([vectors[n].numpy() for n in names]).T
    cuts = boundaries(likeness.astype(np.float64))

    known = {article["title"] for article in json.loads(options.leave_out.read_text(encoding="utf-8"))["data"]}
    outside = sorted(set(titles) - known)
    calibrate = set(random.Random(0).sample(outside, len(outside) // 2))
    rows: dict[str, list[dict[str, Any]]] = {"calib": [], "test": []}
    rng = random.Random(0)
    for number, title in enumerate(titles):
        if title not in outside:
            continue
        begin, last = cuts[number] + MARGIN, cuts[number + 1] - MARGIN
        while begin < last:
            end = min(begin + rng.randint(*WIDTHS), last)
            if end - begin >= WIDTHS[0]:
                rows["calib" if title in calibrate else "test"] += [
                    {
                        "question": question,
                        "sentences": [text + " " for text in sentences[begin:end]],
                        "labels": [i == at for i in range(begin, end)],
                        "group": title,
                    }
                    for at in range(begin, end)
                    for question in questions[at]
                ]
            begin = end
    for name, found in rows.items():
        chosen = random.Random(1).sample(found, min(QUESTIONS, len(found)))
        with (options.out / f"squad-dev-{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(one) + "\n" for one in chosen)
        print(f"{name}: {len(chosen)} of {len(found)} questions, {len({one['group'] for one in chosen})} articles")


if __name__ == "__main__":
    main()
