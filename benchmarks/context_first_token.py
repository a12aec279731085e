"""Time to first token and answers with 20 passages in the question, whole and pruned, against a running server.

`reasonprune serve demo`, then `python benchmarks/context_first_token.py --server http://localhost:8000 --data
xquad.en.json --json RESULT`. Both sides get the same passages, in turn; the time of pruning counts.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
from xquad import paragraphs

from reasonprune.bench.provenance import provenance, write

PASSAGES = 20
MAX_TOKENS = 48
SIDES: dict[str, dict[str, Any]] = {"whole": {}, "pruned": {"reasonprune": {"context": {}}}}


def prompts(data: Path, count: int, seed: int) -> list[tuple[str, list[str]]]:
    """Messages, each with its paragraph among others of any article, and the texts that answer."""
    found = paragraphs(data)
    chance = random.Random(seed)
    made = []
    for paragraph in chance.sample(found, count):
        asked = chance.choice(paragraph.asked)
        others = chance.sample([other for other in found if other is not paragraph], PASSAGES - 1)
        texts = [other.text for other in others] + [paragraph.text]
        chance.shuffle(texts)
        documents = "\n".join(f"<document>\n{text}\n</document>" for text in texts)
        made.append((f"{documents}\n\nAnswer in a few words from the documents: {asked.question}", list(asked.answers)))
    return made


def ask(client: httpx.Client, model: str, content: str, side: str) -> tuple[float, str]:
    """Milliseconds to the first chunk with text, and the whole answer."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "stream": True,
        **SIDES[side],
    }
    began, first, text = perf_counter(), 0.0, ""
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            raise RuntimeError(answer.read().decode())
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            for choice in json.loads(line.removeprefix("data: ")).get("choices", []):
                text += choice["delta"].get("content") or ""
            first = first or (perf_counter() - began if text else 0.0)
    return first * 1000, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="http://localhost:8000")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    made = prompts(options.data, options.questions + 1, options.seed)
    found: dict[str, list[tuple[float, bool]]] = {side: [] for side in SIDES}
    with httpx.Client(base_url=options.server, timeout=600) as client:
        for number, (content, answers) in enumerate(made):
            for side in SIDES if number % 2 else reversed(SIDES):
                milliseconds, text = ask(client, options.model, content, side)
                if number:  # the first warms up
                    right = any(answer.casefold() in text.casefold() for answer in answers)
                    found[side].append((milliseconds, right))
    result: dict[str, Any] = {"questions": options.questions, "passages": PASSAGES}
    for side, rows in found.items():
        result[side] = {
            "first_token_ms": round(statistics.median(milliseconds for milliseconds, _ in rows), 1),
            "answer_contained": round(sum(right for _, right in rows) / len(rows), 4),
        }
    pairs = zip(found["whole"], found["pruned"], strict=True)
    result["times_sooner"] = round(statistics.median(whole / pruned for (whole, _), (pruned, _) in pairs), 2)
    origin = provenance(options.seed, options.data, options.model)
    write(options.json, {**result, "provenance": origin})
    print(result)


if __name__ == "__main__":
    main()
