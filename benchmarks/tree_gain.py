"""What verifying the fused tree gains over its best chain, on TinyReasoner with the reference decoder.

Usage: `python benchmarks/tree_gain.py --limit 40 [--draft-model FOLDER] --json RESULT`

Drafts come from prompt and output, and from a datastore of solutions that the arithmetic generator writes for other
problems. Tree and chain get the same estimates and the same budget of nodes. With a draft model: its tree alone, the
retrieval tree alone, and both fused (RASD), each within the same budget.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from reasonprune.bench.dataset import read_dataset
from reasonprune.bench.provenance import provenance, write
from reasonprune.engine.chat import prompt_ids
from reasonprune.models import resolve
from reasonprune.speculative.acceptance import prior
from reasonprune.speculative.datastore import Datastore
from reasonprune.speculative.fusion import best_chain, fuse, retrieval_tree, reweigh, within
from reasonprune.speculative.matching import continuations
from reasonprune.speculative.reference import Decoded, TreeDecoder
from reasonprune.speculative.tree import ROOT, Source, TokenTree
from reasonprune.train.arithmetic import sample_hesitant_solution, sample_problems

MAX_TOKENS = 100
STORED = 2_000
STORED_SEED = 1_234_567
BUDGETS = (4, 8, 16)
DEPTH, BRANCHES, BEAM = 6, 4, 4  # of a draft model's tree
WIDER = 4  # times the budget: what is fused before the budget cuts
Propose = Callable[[Sequence[int]], TokenTree]


class DraftModel:
    """A small model's tree: the likeliest tokens behind the likeliest nodes, depth by depth."""

    def __init__(self, folder: str) -> None:
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def tree(self, context: Sequence[int]) -> tuple[TokenTree, dict[int, float]]:
        """And its first distribution, the likeliest tokens of it."""
        tree, frontier, first = TokenTree(), [ROOT], dict[int, float]()
        for depth in range(1, DEPTH + 1):
            rows = [[*context, *(tree.tokens[node] for node in tree.path(leaf))] for leaf in frontier]
            with torch.inference_mode():
                chances = torch.softmax(self._model(torch.tensor(rows), logits_to_keep=1).logits[:, -1], dim=-1)
            found = []
            for leaf, row in zip(frontier, chances, strict=True):
                best = row.topk(10)
                likeliest = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
                first = first or dict(likeliest)
                found += [tree.add(leaf, token, p, Source.DRAFT, depth) for token, p in likeliest[:BRANCHES]]
            frontier = sorted(found, key=lambda node: -tree.reaches[node])[:BEAM]
        return tree, first


def filled(folder: Path, tokenizer: Any) -> Datastore:
    rng = random.Random(STORED_SEED)
    store = Datastore.create(folder, "tiny", "tiny", len(tokenizer))
    problems = sample_problems(STORED_SEED, STORED, (3, 4, 5, 6))
    store.add(tokenizer.encode(sample_hesitant_solution(rng, p, 0.05), add_special_tokens=False) for p in problems)
    return store


def tree(store: Datastore, budget: int, context: Sequence[int]) -> TokenTree:
    text = np.asarray(context, np.int32)
    found = continuations(text, text, budget, 8, Source.REQUEST) + store.continuations(context[-16:], budget, 32)
    return within(retrieval_tree(found, prior), budget)


def chain(store: Datastore, budget: int, context: Sequence[int]) -> TokenTree:
    """The best chain of a larger tree: a chain of `budget` tokens may go deeper than a tree of as many nodes."""
    whole, single, node = tree(store, 8 * budget, context), TokenTree(), ROOT
    for best in best_chain(whole, budget):
        node = single.add(node, whole.tokens[best], whole.chances[best], whole.sources[best])
    return single


def summed(runs: Sequence[Decoded], plain: Sequence[Decoded]) -> dict[str, Any]:
    rounds = sum(run.rounds for run in runs)
    return {
        "acceptance_length": round(sum(len(run.tokens) - 1 for run in runs) / rounds, 4),
        "verified_per_round": round(sum(run.verified for run in runs) / rounds, 2),
        "identical": sum(a.tokens == b.tokens for a, b in zip(runs, plain, strict=True)) / len(runs),
    }


def with_draft_model(store: Datastore, drafter: DraftModel, budget: int) -> dict[str, Propose]:
    """By name: each source alone, and both, of which the draft model weighs what retrieval says first."""

    def both(context: Sequence[int]) -> TokenTree:
        drafted, first = drafter.tree(context)
        return within(fuse(drafted, reweigh(tree(store, WIDER * budget, context), first)), budget)

    return {
        "tree of the draft model": lambda context: within(drafter.tree(context)[0], budget),
        "tree of retrieval": partial(tree, store, budget),
        "both, fused": both,
    }


def measure(limit: int, draft_model: str | None) -> dict[str, Any]:
    torch.set_num_threads(1)
    folder = resolve("tiny").path
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    prompts = [
        prompt_ids(tokenizer, [{"role": "user", "content": question.question}])
        for question in read_dataset(Path(folder) / "test.jsonl", limit)
    ]
    decoder = TreeDecoder(model)

    def runs(propose: Propose) -> list[Decoded]:
        return [decoder.decode(prompt, MAX_TOKENS, propose, tokenizer.eos_token_id) for prompt in prompts]

    plain = runs(lambda context: TokenTree())
    drafter = DraftModel(draft_model) if draft_model else None
    with tempfile.TemporaryDirectory() as temporary:
        store = filled(Path(temporary) / "store", tokenizer)

        def forms(budget: int) -> dict[str, Propose]:
            if drafter is not None:
                return with_draft_model(store, drafter, budget)
            return {"chain": partial(chain, store, budget), "tree": partial(tree, store, budget)}

        budgets = {
            budget: {name: summed(runs(propose), plain) for name, propose in forms(budget).items()}
            for budget in BUDGETS
        }
        tokens = store.tokens
    return {"prompts": len(prompts), "max_tokens": MAX_TOKENS, "stored_tokens": tokens, "budgets": budgets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--draft-model", help="folder of `reasonprune train tiny-reasoner --draft`")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    result = measure(options.limit, options.draft_model)
    data = Path(resolve("tiny").path) / "test.jsonl"
    write(options.json, {**result, "provenance": provenance(STORED_SEED, data, "tiny")})
    print(result["budgets"])


if __name__ == "__main__":
    main()
