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


def measured(lines: list[str]) -> list[str]:
    """A table of heads alone says nothing."""
    return lines if len(lines) > 2 else ["Not measured yet."]


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
    return measured(lines)


def cot_turns() -> list[str]:
    heads = ("side", "prompt tokens", "from the cache", "prefill", "prompt of the last turn")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("cot-turns*.json"):
        for side in ("plain", "history"):
            cell = result[side]
            cells = (f"{cell['prompt_tokens']:,}", f"{cell['cache_hits']:.1%}", f"{cell['prefill_tokens']:,}")
            lines.append(row(side, *cells, cell["last_prompt_tokens"]))
    return measured(lines)


def cot_train() -> list[str]:
    heads = ("model", "problems", "accuracy", "tokens an answer")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("cot-train*.json"):
        for side in ("verbose", "adapter"):
            cell = result[side]
            lines.append(row(side, result["problems"], f"{cell['accuracy']:.1%}", cell["tokens"]))
    return measured(lines)


def cot_code() -> list[str]:
    heads = ("method", "budget", "kept", "tasks solved", "same verdict as with the full reasoning")
    lines = [row(*heads), row(*["---"] * len(heads))]
    for result in load("cot-humaneval*.json"):
        lines.append(row("full reasoning", "", "100%", f"{result['accuracy_with_full_reasoning']:.1%}", "100%"))
        for method, cells in result["methods"].items():
            for budget, cell in cells.items():
                shares = (f"{cell[key]:.1%}" for key in ("kept", "accuracy", "agreement"))
                lines.append(row(method, budget, *shares))
    return measured(lines)


TABLES: dict[str, Callable[[], list[str]]] = {
    "settings": lambda: settings_table().rstrip().splitlines(),
    "pools": pools,
    "live": live,
    "tiny": tiny,
    "agreement": agreement,
    "frontier": frontier,
    "cot": cot,
    "cot_turns": cot_turns,
    "cot_train": cot_train,
    "cot_code": cot_code,
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
