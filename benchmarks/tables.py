"""Writes the tables of benchmarks/README.md and README.md from their sources. `--check` only compares."""

from __future__ import annotations

import json
import re
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
        row("policy", "n", "problems", "accuracy", "tokens", "share of tokens", "seconds", "share of time"),
        row(*["---"] * 8),
    ]
    for result in load("live-*.json"):
        base = result["baseline"]
        n, count = result["n"], result["questions"]
        lines.append(
            row(
                f"**{result['policy']}**",
                n,
                count,
                f"{result['accuracy']:.1%}",
                f"{result['total_tokens']:,.0f}",
                f"{result['total_tokens_share']:.1%}",
                f"{result['seconds']:.0f}",
                f"{result['seconds_share']:.1%}",
            )
        )
        tokens, seconds = f"{base['total_tokens']:,.0f}", f"{base['seconds']:.0f}"
        lines.append(row("self-consistency", n, count, f"{base['accuracy']:.1%}", tokens, "100%", seconds, "100%"))
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
    heads = ("pool", "judge", "shown", "AUROC within questions", "pooled", "TNR at FNR 0.2", "ms a pair")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("judge-*.json"):
        for share, found in result["prefix"].items():
            values = (found[key] for key in ("auroc_within", "auroc_pooled", "tnr_at_fnr_20"))
            shown = ("-" if value is None else f"{value:.3f}" for value in values)
            lines.append(row(result["file"], result["judge"], f"{float(share):.0%}", *shown, found["ms_per_pair"]))
    return lines


def value_head() -> list[str]:
    heads = ["share of the trace", "AUROC within questions", "pooled", "ECE", "error of the remaining length, tokens"]
    lines = [row(*heads, "of its mean"), row(*["---"] * 6)]
    folder = ROOT / "reasonprune" / "selfeval" / "shipped" / "tiny" / "head"
    for share, found in json.loads((folder / "self-eval.json").read_text())["training"]["test"].items():
        values = [f"{found[key]:.3f}" for key in ("auroc_within", "auroc_pooled", "ece")]
        lines.append(
            row(f"{float(share):.0%}", *values, found["remaining_error"], found["remaining_error_of_the_mean"])
        )
    return lines


def self_eval() -> list[str]:
    heads = ["kind", "n", "questions", "AUROC within", "at half", "pooled", "ECE"]
    heads += ["one sample", "majority", "best score", "weighted", "ms a check", "tokens a check"]
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("self-eval-*.json"):
        accuracy, tokens = result["accuracy"], result["check_tokens"]
        ranked = [result[key] for key in ("auroc_within", "auroc_within_half", "auroc_pooled")]
        shown = ["-" if value is None else f"{value:.3f}" for value in (*ranked, result["shares"]["1"]["ece"])]
        gains = [f"{accuracy[key]:.1%}" for key in ("one_sample", "majority", "selection", "weighted_majority")]
        cost = f"{tokens['read_beyond_the_cache']:.0f} read, {tokens['generated']:.0f} written"
        lines.append(row(result["kind"], result["n"], result["questions"], *shown, *gains, result["check_ms"], cost))
    return lines


def best_of_n() -> list[str]:
    lines = [row("policy", "accuracy", "samples", "tokens", "sequential tokens"), row(*["---"] * 5)]
    for result in load("best-of-n.json"):
        for name, found in result["rows"].items():
            tokens = [f"{found[key]:,.0f}" for key in ("total_tokens", "sequential_tokens")]
            lines.append(row(name, f"{found['accuracy']:.1%}", f"{found['samples']:.2f}", *tokens))
    return lines


TABLES: dict[str, Callable[[], list[str]]] = {
    "settings": lambda: settings_table().rstrip().splitlines(),
    "pools": pools,
    "live": live,
    "tiny": tiny,
    "agreement": agreement,
    "judges": judges,
    "value_head": value_head,
    "self_eval": self_eval,
    "best_of_n": best_of_n,
    "frontier": frontier,
    "passthrough": passthrough,
    "cut_off": cut_off,
}


def filled(text: str) -> str:
    """`text` with every table between its markers made anew."""
    for name, table in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = pattern.sub(lambda match, made=table: match[1] + "\n".join(made()) + "\n" + match[2], text)
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
