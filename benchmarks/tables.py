"""Writes the tables of benchmarks/README.md and README.md from their sources. `--check` only compares."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reasonprune.docs import settings_table

HERE = Path(__file__).parent
ROOT = HERE.parent
POOLS = ("aime24", "aime25")


def load(pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((HERE / "results").glob(pattern))]


def row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def pools() -> list[str]:
    """Accuracy / share of total / share of sequential tokens by policy and pool, self-consistency first."""
    lines = [
        row("policy", *(f"{pool}: accuracy | total tokens | sequential tokens" for pool in POOLS)),
        row("---", *("---" for _ in range(3 * len(POOLS)))),
    ]
    by_pool = {pool: {r["policy"]: r for r in load(f"pool-{pool}-*.json")} for pool in POOLS}
    shared = [policy for policy in by_pool[POOLS[0]] if all(policy in by_pool[pool] for pool in POOLS)]

    def cells(result: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
        total = result["total_tokens"] / baseline["total_tokens"]
        sequential = result["sequential_tokens"] / baseline["sequential_tokens"]
        return [f"{result['accuracy']:.1%}", f"{total:.1%}", f"{sequential:.0%}"]

    def line(name: str, pick: Callable[[dict[str, Any]], dict[str, Any]], policy: str) -> str:
        found = [by_pool[pool][policy] for pool in POOLS]
        return row(name, *(cell for result in found for cell in cells(pick(result), result["baseline"])))

    if shared:
        lines.append(line("self-consistency, n = 64", lambda result: result["baseline"], shared[0]))
    for policy in shared:
        ks = {by_pool[pool][policy]["equal_tokens_baseline"]["n"] for pool in POOLS}
        lines.append(line(f"**{policy}**", lambda result: result, policy))
        name = f"self-consistency at its tokens, n = {' and '.join(str(k) for k in sorted(ks))}"
        lines.append(line(name, lambda result: result["equal_tokens_baseline"], policy))
    return lines


def live() -> list[str]:
    lines = [
        row("policy", "n", "problems", "at once", "accuracy", "tokens", "share of tokens", "seconds", "share of time"),
        row(*["---"] * 9),
    ]
    for result in load("live-*.json"):
        base = result["baseline"]
        n, count, at_once = result["n"], result["questions"], result["concurrency"]
        lines.append(
            row(
                f"**{result['policy']}**",
                n,
                count,
                at_once,
                f"{result['accuracy']:.1%}",
                f"{result['total_tokens']:,.0f}",
                f"{result['total_tokens_share']:.1%}",
                f"{result['seconds']:.0f}",
                f"{result['seconds_share']:.1%}",
            )
        )
        spent = [f"{base['total_tokens']:,.0f}", "100%", f"{base['seconds']:.0f}", "100%"]
        lines.append(row("self-consistency", n, count, at_once, f"{base['accuracy']:.1%}", *spent))
    return lines


def tiny() -> list[str]:
    lines = [
        row("problems", "greedy", "one sample", "majority of 16", "tokens a trace", "tokens/s at 32 traces"),
        row(*["---"] * 6),
    ]
    for result in load("tiny-reasoner.json"):
        shares = [result[f"{name}_accuracy"] for name in ("greedy", "sample", "majority_of_16")]
        speed = f"{result['tokens_per_s_at_32_traces']:,}"
        lines.append(row(result["questions"], *(f"{s:.1%}" for s in shares), result["tokens_per_trace"], speed))
    return lines


def passthrough() -> list[str]:
    lines = [
        row("model", "plain tokens/s", "reasonprune tokens/s", "ratio (median of rounds)", "added time to first token"),
        row(*["---"] * 5),
    ]
    for result in load("passthrough-*.json"):
        speed = result["tokens_per_s"]
        ratio = f"{result['throughput_ratio']:.3f}"
        added = f"{result['added_first_token_ms']:.2f} ms"
        lines.append(row(result["provenance"]["model"], speed["plain"], speed["reasonprune"], ratio, added))
    return lines


def cut_off() -> list[str]:
    lines = [
        row(
            "requests a round",
            "cut off",
            "running in the engine afterwards",
            "memory",
            "a round later",
            "two rounds later",
        ),
        row(*["---"] * 6),
    ]
    for result in load("cut-off*.json"):
        memory = [f"{value:,.0f} MB" for value in result["memory_mb"]]
        lines.append(row(result["requests"], result["cut_off"], result["running_afterwards"], *memory))
    return lines


def agreement() -> list[str]:
    """What a forced answer says about a trace's own end."""
    heads = ("pool", "traces that were forced to answer", "count", "end in that answer", "end as the other did")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("agreement*.json"):
        for pool, kinds in result["pools"].items():
            for kind, share in kinds.items():
                kept, other = share["keeps_its_forced_answer"], share["ends_as_the_other"]
                lines.append(row(pool, kind, f"{share['count']:,}", f"{kept:.0%}", f"{other:.0%}"))
    return lines


def frontier() -> list[str]:
    """Mean over the pools; points and shares against self-consistency with 64 traces."""
    heads = ("policy", "setting", "points", "total tokens", "sequential tokens")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("frontier*.json"):
        for point in result["points"]:
            shares = (f"{point['total_share']:.1%}", f"{point['sequential_share']:.0%}")
            few = "" if point["reshuffles"] == 64 else f" ({point['reshuffles']} reshuffles)"
            lines.append(row(point["policy"], point["setting"] + few, f"{point['points']:+.1f}", *shares))
    return lines


def judges() -> list[str]:
    """One line for each pool, judge and share of the traces that the judge was shown."""
    heads = ("pool", "judge", "shown", "pairs", "AUROC within questions", "pooled", "TNR at FNR 0.2", "ms a pair")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("judge-*.json"):
        for share, found in result["prefix"].items():
            values = (found[key] for key in ("auroc_within", "auroc_pooled", "tnr_at_fnr_20"))
            shown = ("-" if value is None else f"{value:.3f}" for value in values)
            asked = (result["judge"], f"{float(share):.0%}", f"{found['pairs']:,}")
            lines.append(row(result["file"], *asked, *shown, found["ms_per_pair"]))
    return lines


def thresholds() -> list[str]:
    heads = ("judge", "tau", "accuracy", "total tokens", "sequential tokens")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("thresholds-*.json"):
        for point in result["points"]:
            tau = "" if point["threshold"] is None else point["threshold"]
            shares = (f"{point[f'{kind}_share']:.1%}" for kind in ("total", "sequential"))
            lines.append(row(point["way"], tau, f"{point['accuracy']:.1%}", *shares))
    return lines


def depth() -> list[str]:
    """Layer programs beside full depth; speeds are ratios within a round, medians over the rounds."""
    heads = (
        "model",
        "program",
        "layers",
        "accuracy",
        "full depth",
        "speed / full",
        "full / vLLM's own",
        "mixed / mean",
        "mixed / token-weighted mean",
    )
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("depth-bench-*.json"):
        speed = result["speed"]
        lines.append(
            row(
                result["provenance"]["model"],
                f"`{result['program']}`",
                f"{result['layers']:g} of {result['model_layers']}",
                f"{result['accuracy']:.1%}",
                f"{result['full']['accuracy']:.1%} of {result['questions']}",
                f"{speed['program_to_full']:.2f}",
                f"{speed['full_to_plain']:.2f}",
                f"{result['mixed']['of_mean']:.2f}",
                f"{found:.2f}" if (found := result["mixed"].get("of_token_weighted_mean")) else "not measured",
            )
        )
    return lines


def depth_identity() -> list[str]:
    heads = ("model", "programs", "runs", "identical, one program a batch", "identical, all programs in one batch")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("depth-identity-*.json"):
        programs = result["programs"]
        runs = sum(p["prompts"] for p in programs)
        alone, mixed = (sum(p[f"identical_{kind}"] for p in programs) for kind in ("uniform", "mixed"))
        lines.append(row(result["provenance"]["model"], len(programs), runs, f"{alone}", f"{mixed}"))
    return lines


def depth_search() -> list[str]:
    heads = (
        "model",
        "questions",
        "reward",
        "simulations",
        "full depth right",
        "of these with a shorter program",
        "wrong ones mended",
        "mean shortest",
    )
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("depth-search-*.json"):
        if result["reward"] == "draft":
            continue
        origin = result["provenance"]
        searched = f"{result['questions']} of {origin['data']['file']}"
        shares = ("full_accuracy", "right_with_a_shorter_program", "wrong_mended")
        right, shorter, mended = (f"{result[share]:.1%}" for share in shares)
        reward = result["reward"] + (" (oracle)" if result["oracle"] else "")
        least = f"{result['mean_shortest']:g} of {result['model_layers']}"
        lines.append(row(origin["model"], searched, reward, result["simulations"], right, shorter, mended, least))
    return lines


def depth_front() -> list[str]:
    """The programs that no other beats in both layers and accuracy, of each search."""
    heads = ("model", "data", "reward", "front: layers, program, accuracy")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("depth-search-*.json"):
        origin, measure = result["provenance"], "agreement" if result["reward"] == "draft" else "accuracy"
        points = (f"{p['layers']}: `{p['program']}` {p[measure]:.1%}" for p in result["front"])
        lines.append(row(origin["model"], origin["data"]["file"], result["reward"], "; ".join(points)))
    return lines


def depth_drafts() -> list[str]:
    """A program as the draft of speculation, beside base and n-grams, on one engine."""
    heads = ("model", "draft", "prompts", "method", "tokens/s", "of base", "acceptance length", "identical")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("depth-drafts-*.json"):
        base = result["methods"]["base"]["tokens_per_s"]
        for method, found in result["methods"].items():
            cells = (
                result["provenance"]["model"],
                f"`{result['draft_layers']}`",
                result["prompts"],
                "the layers alone" if method == "draft" else method,
                f"{found['tokens_per_s']:.1f}",
                f"{found['tokens_per_s'] / base:.2f}",
                f"{found['acceptance_length']:.2f}",
                f"{found['identical']:.1%}",
            )
            lines.append(row(*cells))
    return lines


def depth_router() -> list[str]:
    heads: tuple[str, ...] = ("model", "unseen questions", "accuracy", "full depth", "layers", "not at full depth")
    heads += ("one program for all", "oracle of the bank")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("depth-router-*.json"):
        test = result["test"]
        lines.append(
            row(
                result["provenance"]["model"],
                f"{test['questions']:,}",
                f"{test['accuracy']:.1%}",
                f"{test['full_accuracy']:.1%}",
                f"{test['layers']:g} of {test['full_layers']}",
                f"{test['routed_away_from_full']:.1%}",
                ", ".join(f"`{p['program']}` {p['accuracy']:.1%}" for p in result["always"]),
                f"{test['oracle_accuracy']:.1%} at {test['oracle_layers']:g} layers",
            )
        )
    return lines


def cot() -> list[str]:
    """Kept tokens and agreement of every method at every budget, chains as they are and cut before their answer."""
    lines = list[str]()
    for result in load("cot-gsm8k*.json"):
        budgets = list(next(iter(result["methods"].values())))
        if not lines:
            heads = (f"{budget}: kept | agreement | accuracy" for budget in budgets)
            lines = [row("chains", "method", *heads), row(*["---"] * (2 + 3 * len(budgets)))]
        for which, part in (("whole", result), ("cut before the answer", result.get("withheld"))):
            for method, cells in (part or {"methods": {}})["methods"].items():
                shares = [cells[budget][key] for budget in budgets for key in ("kept", "agreement", "accuracy")]
                lines.append(row(which, method, *(f"{share:.1%}" for share in shares)))
    return lines


def cot_turns() -> list[str]:
    heads = ("side", "prompt tokens", "from the cache", "prefill", "prompt of the last turn")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("cot-turns*.json"):
        for side in ("plain", "history"):
            cell = result[side]
            cells = (f"{cell['prompt_tokens']:,}", f"{cell['cache_hits']:.1%}", f"{cell['prefill_tokens']:,}")
            lines.append(row(side, *cells, cell["last_prompt_tokens"]))
    return lines


def cot_train() -> list[str]:
    heads = ("model", "budget", "kept of its chains", "problems", "accuracy", "tokens an answer")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("cot-train*.json"):
        for side, trained in (("verbose", ("", "")), ("adapter", (result["budget"], f"{result['kept']:.1%}"))):
            cell = result[side]
            lines.append(row(side, *trained, result["problems"], f"{cell['accuracy']:.1%}", cell["tokens"]))
    return lines


def cot_code() -> list[str]:
    heads = ("method", "budget", "kept", "tasks solved", "same verdict as with the full reasoning")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("cot-humaneval*.json"):
        lines.append(row("full reasoning", "", "100%", f"{result['accuracy_with_full_reasoning']:.1%}", "100%"))
        lines.append(row("none", "", "0%", f"{result['accuracy_without_reasoning']:.1%}", ""))
        for method, cells in result["methods"].items():
            for budget, cell in cells.items():
                shares = (f"{cell[key]:.1%}" for key in ("kept", "accuracy", "agreement"))
                lines.append(row(method, budget, *shares))
    return lines


def self_eval() -> list[str]:
    heads = ["model", "kind", "n", "questions", "AUROC within", "at half", "pooled", "ECE"]
    heads += ["one sample", "majority", "best score", "weighted", "ms a check", "tokens a check"]
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("self-eval-*.json"):
        accuracy, tokens = result["accuracy"], result["check_tokens"]
        ranked = [result[key] for key in ("auroc_within", "auroc_within_half", "auroc_pooled")]
        shown = ["-" if value is None else f"{value:.3f}" for value in (*ranked, result["shares"]["1"]["ece"])]
        gains = [f"{accuracy[key]:.1%}" for key in ("one_sample", "majority", "selection", "weighted_majority")]
        cost = f"{tokens['read_beyond_the_cache']:.0f} read, {tokens['generated']:.0f} written"
        asked = (result["model"], result["kind"], result["n"], result["questions"])
        lines.append(row(*asked, *shown, *gains, result["check_ms"], cost))
    return lines


def best_of_n() -> list[str]:
    heads = ("policy", "accuracy", "points above the majority of 16", "samples", "tokens", "sequential tokens")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("best-of-n.json"):
        for name, found in result["rows"].items():
            tokens = [f"{found[key]:,.0f}" for key in ("total_tokens", "sequential_tokens")]
            gain = f"{100 * found['gain']:+.1f} ± {100 * found['gain_error']:.1f}"
            lines.append(row(name, f"{found['accuracy']:.1%}", gain, f"{found['samples']:.2f}", *tokens))
    return lines


def context() -> list[str]:
    """Recall and compression of the pruner and its rivals, file by file."""
    heads = ("data", "distractors", "questions", "method", "recall", "compression", "seconds")
    lines = [row(*heads), row(*["---"] * len(heads))]
    names = {"bm25": "BM25", "minilm": "MiniLM cosine", "none": "no pruning"}
    for result in load("context-xquad-*.json") + load("context-squad-dev-*.json"):
        where = (result["provenance"]["data"]["file"], result["distractors"], result["questions"])
        methods = {f"**pruner at {result['threshold']:g}**": result}
        methods |= {name: result[key] for key, name in names.items()}
        for method, one in methods.items():
            shares = (f"{one['recall']:.1%}", f"{one['compression']:.1%}", f"{one['seconds']:.0f}")
            lines.append(row(*where, method, *shares))
    return lines


def rerank() -> list[str]:
    heads = ("data", "queries", "candidates", "order", "nDCG@10")
    lines = [row(*heads), row(*["---"] * len(heads))]
    names = {"given": "as given", "bm25": "BM25", "minilm": "MiniLM cosine", "head": "ranking head alone"}
    for result in load("rerank-*.json"):
        where = (result["provenance"]["data"]["file"], result["queries"], result["candidates"])
        for method, found in result["methods"].items():
            lines.append(row(*where, names.get(method, "**/v1/rerank**"), f"{found['ndcg_at_10']:.3f}"))
    return lines


def first_token() -> list[str]:
    heads = ("model", "passages", "questions", "context", "time to first token", "answer in the reply")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("context-first-token*.json"):
        for side in ("whole", "pruned"):
            found, count = result[side], result["questions"]
            times = f"{found['first_token_ms']:,.0f} ms", f"{found['answer_contained']:.1%}"
            lines.append(row(result["provenance"]["model"], result["passages"], count, side, *times))
    return lines


def rag() -> list[str]:
    heads = ("framework", "pruner", "questions", "answer retrieved", "of these kept", "removed", "passages", "left")
    lines = [row(*heads, "ms a question"), row(*["---"] * (len(heads) + 1))]
    for result in load("rag-*.json"):
        where = "over HTTP" if result["over_http"] else "in the process"
        for name, found in result["frameworks"].items():
            shares = [f"{found[key]:.1%}" for key in ("answer_retrieved", "answer_kept", "compression")]
            counts = [f"{found[key]:.1f}" for key in ("passages", "passages_left")]
            lines.append(row(name, where, result["questions"], *shares, *counts, f"{found['ms_per_question']:.0f}"))
    return lines


def graph() -> list[str]:
    heads = ("questions", "model", "topic", "count", "hits@1", "hits@3", "recall", "paths considered", "kept", "calls")
    lines = [row(*heads, "tokens", "s a question"), row(*["---"] * (len(heads) + 2))]
    runs = [result for result in load("graph-*.json") if "hits_at_1" in result]
    for result in sorted(
        runs, key=lambda run: (run["provenance"]["data"]["file"], run["llm"] != "none", run["linking"])
    ):
        shares = [f"{result[key]:.1%}" for key in ("hits_at_1", "hits_at_3", "answer_recall")]
        means = [f"{result[key]:.1f}" for key in ("paths_considered", "paths_kept", "llm_calls")]
        name = result["provenance"]["data"]["file"].removesuffix(".txt")
        cells = (name, result["llm"], result["linking"], f"{result['questions']:,}", *shares, *means)
        lines.append(row(*cells, f"{result['llm_tokens']:,.0f}", f"{result['seconds_per_question']:.2f}"))
    return lines


def graph_ablation() -> list[str]:
    heads = ("questions", "count", "variant", "hits@1", "hits@3", "recall", "paths considered", "s a question")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("graph-ablation-*.json"):
        name = result["provenance"]["data"]["file"].removesuffix(".txt")
        for variant, found in result["variants"].items():
            shares = [f"{found[key]:.1%}" for key in ("hits_at_1", "hits_at_3", "answer_recall")]
            cells = (*shares, f"{found['paths_considered']:.1f}", f"{found['seconds_per_question']:.2f}")
            lines.append(row(name, result["questions"], variant, *cells))
    return lines


def graph_scale() -> list[str]:
    heads = ("triples", "entities", "file", "load", "memory before, after load, after questions", "hits@1")
    lines = [row(*heads, "s a question: median, most", "at a hub: edges, hits@1, median, most"), row(*["---"] * 8)]
    for result in sorted(load("graph-scale-*.json"), key=lambda found: found["triples"]):
        hub, memory = result["hub"], result["memory_mb"]
        lines.append(
            row(
                f"{result['triples']:,}",
                f"{result['entities']:,}",
                f"{result['file_mb']:,.0f} MB",
                f"{result['load_seconds']:,.0f} s",
                ", ".join(f"{memory[key]:,}" for key in ("before", "after_load", "after_questions")) + " MB",
                f"{result['hits_at_1_scale']:.1%}",
                f"{result['seconds_median']:.2f}, {result['seconds_most']:.2f}",
                f"{result['largest_degree']:,}, {hub['hits_at_1']:.1%}, {hub['seconds_median']:.2f},"
                f" {hub['seconds_most']:.2f}",
            )
        )
    return lines


def speculative() -> list[str]:
    """One line a run and method, greedy."""
    heads = ("model", "data", "prompts", "at once", "drafts also from", "method", "tokens/s", "of base")
    lines = [row(*heads, "acceptance length", "identical"), row(*["---"] * 10)]
    for result in load("speculative-*.json"):
        origin = result["provenance"]
        more = [name for name, key in (("datastore", "datastore"), ("draft model", "draft_model")) if result.get(key)]
        run = (origin["model"], origin["data"]["file"], result["prompts"], result["concurrency"], ", ".join(more))
        lines += [row(*run, *cells) for cells in _methods(result["methods"])]
    return lines


def speculative_tasks() -> list[str]:
    """One line a task and method of runs over several tasks."""
    heads = ("model", "at once", "task", "method", "tokens/s", "of base", "acceptance length", "identical")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("speculative-*.json"):
        for task, methods in result["tasks"].items() if len(result["tasks"]) > 1 else ():
            run = (result["provenance"]["model"], result["concurrency"], task)
            lines += [row(*run, *cells) for cells in _methods(methods) if cells[0] != "base"]
    return lines


def _methods(methods: dict[str, Any]) -> list[tuple[str, ...]]:
    base = methods["base"]["tokens_per_s"]
    return [
        (
            name,
            f"{found['tokens_per_s']:,.1f}",
            f"{found['tokens_per_s'] / base:.2f}",
            f"{found['acceptance_length']:.2f}",
            f"{found['identical']:.1%}",
        )
        for name, found in methods.items()
    ]


def draft_replay() -> list[str]:
    """One line a model, task and method; the speeds are modelled."""
    heads = ("model", "task", "datastore", "method", "of base", "acceptance length", "drafted a step", "accepted")
    lines = [row(*heads, "drafting, p50"), row(*["---"] * 9)]
    for result in load("draft-replay-*.json"):
        total = {"**all**": result["methods"]} if len(result["tasks"]) > 1 else {}
        for task, methods in {**total, **result["tasks"]}.items():
            for name, found in methods.items():
                if name == "base":
                    continue
                numbers = (f"{found['of_base']:.2f}", f"{found['acceptance_length']:.2f}")
                drafts = (f"{found['drafted_per_step']:.2f}", f"{found['accepted_share']:.0%}")
                took, store = f"{found['drafting_p50_ms']:.2f} ms", result["datastore"] or ""
                lines.append(row(result["provenance"]["model"], task, store, name, *numbers, *drafts, took))
    return lines


def datastore() -> list[str]:
    heads = (
        "tokens",
        "segments",
        "size",
        "build",
        "of it CPU",
        "open and verify",
        "lookup p50",
        "p99",
        "p50 CPU",
        "p99 CPU",
    )
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("datastore*.json"):
        for size in result["sizes"]:
            lookup, seconds = size["lookup"], ("build_s", "build_cpu_s", "open_and_verify_s")
            held = (f"{size['tokens']:,}", size["segments"], f"{size['bytes'] / 1e6:,.0f} MB")
            times = (f"{size[name]:,.1f} s" for name in seconds)
            taken = (f"{lookup[name]:.2f} ms" for name in ("p50_ms", "p99_ms", "cpu_p50_ms", "cpu_p99_ms"))
            lines.append(row(*held, *times, *taken))
    return lines


def trees() -> list[str]:
    heads = ("prompts", "nodes", "drafts", "acceptance length", "verified tokens a round", "identical")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("tree-*.json"):
        for nodes, forms in result["budgets"].items():
            for form, found in forms.items():
                cells = (f"{found['acceptance_length']:.3f}", f"{found['verified_per_round']:.1f}")
                lines.append(row(result["prompts"], nodes, form, *cells, f"{found['identical']:.1%}"))
    return lines


def value_head() -> list[str]:
    heads = ("model", "share of the trace", "AUROC within questions", "pooled", "ECE")
    lines = [row(*heads, "error of the remaining length, tokens", "of its mean"), row(*["---"] * 7)]
    for model in ("tiny", "demo"):
        folder = ROOT / "reasonprune" / "selfeval" / "shipped" / model / "head"
        for share, found in json.loads((folder / "self-eval.json").read_text())["training"]["test"].items():
            values = [f"{found[key]:.3f}" for key in ("auroc_within", "auroc_pooled", "ece")]
            lengths = (found["remaining_error"], found["remaining_error_of_the_mean"])
            lines.append(row(model, f"{float(share):.0%}", *values, *lengths))
    return lines


def head_cost() -> list[str]:
    heads = ("model", "traces at once", "rounds", "throughput with the head, of without", "the same in CPU seconds")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("value-head-*.json"):
        cells = (f"{result['ratio']:.3f}", f"{result['cpu_ratio']:.3f}")
        lines.append(row(result["model"], result["traces"], len(result["rounds"]), *cells))
    return lines


TABLES: dict[str, Callable[[], list[str]]] = {
    "settings": lambda: settings_table().rstrip().splitlines(),
    "pools": pools,
    "live": live,
    "tiny": tiny,
    "agreement": agreement,
    "judges": judges,
    "thresholds": thresholds,
    "self_eval": self_eval,
    "best_of_n": best_of_n,
    "frontier": frontier,
    "cot": cot,
    "cot_turns": cot_turns,
    "cot_train": cot_train,
    "cot_code": cot_code,
    "passthrough": passthrough,
    "cut_off": cut_off,
    "depth": depth,
    "depth_identity": depth_identity,
    "depth_search": depth_search,
    "depth_front": depth_front,
    "depth_drafts": depth_drafts,
    "depth_router": depth_router,
    "context": context,
    "rerank": rerank,
    "rag": rag,
    "first_token": first_token,
    "graph": graph,
    "graph_ablation": graph_ablation,
    "graph_scale": graph_scale,
    "speculative": speculative,
    "speculative_tasks": speculative_tasks,
    "draft_replay": draft_replay,
    "datastore": datastore,
    "trees": trees,
    "value_head": value_head,
    "head_cost": head_cost,
}


def measured(lines: list[str]) -> list[str]:
    """A table of heads alone says nothing."""
    return lines if len(lines) > 2 else ["Not measured yet."]


def filled(text: str) -> str:
    """`text` with every table between its markers made anew."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if begin in text:
            before, _, rest = text.partition(begin)
            text = before + begin + "\n".join(measured(table())) + "\n" + end + rest.partition(end)[2]
    return text


def main() -> None:
    stale = []
    for path in (HERE / "README.md", ROOT / "README.md"):
        old = path.read_text(encoding="utf-8")
        new = filled(old)
        if new != old:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"Tables are out of step: {', '.join(stale)}. Run python benchmarks/tables.py.")


if __name__ == "__main__":
    main()
