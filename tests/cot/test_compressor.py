from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.cot.compressor import METHODS, Chain, Compression, Method, budget_tokens, compress
from reasonprune.cot.scores import TokenScores
from reasonprune.cot.steps import split_steps
from reasonprune.errors import RequestError

WORDS = ["Start here.", "Hmm, maybe not.", "2+3=5 it is.", "Wait, is it?", "So 5*2=10 then.", "Done: 10 it is."]
TEXT = "\n\n".join(WORDS) + "\n"
SURPRISALS = (0.1, 2.0, 0.5, 3.0, 0.2, 0.3)


def scores_for(text: str, surprisals: tuple[float, ...]) -> TokenScores:
    """One token a word; the first of each step has its surprisal, all others none."""
    starts, logprobs = [], []
    for step, surprisal in zip(split_steps(text), surprisals, strict=True):
        for number, at in enumerate(i for i in range(step.start, step.end) if i == step.start or text[i - 1] == " "):
            starts.append(at)
            logprobs.append(-surprisal if number == 0 else 0.0)
    return TokenScores(tuple(starts), tuple(logprobs), "recorded")


SCORES = scores_for(TEXT, SURPRISALS)


def kept(method: Method, budget: float, anchor: str = "") -> list[int]:
    result = compress(Chain(TEXT, anchor=anchor), SCORES, budget, method)
    return [index for index, report in enumerate(result.steps) if report.kept]


def test_steps_go_in_ascending_order_of_surprisal() -> None:
    assert kept("first_token_only", 0.9) == [1, 2, 3, 4, 5]
    assert kept("first_token_only", 0.5) == [1, 2, 3]


def test_asap_keeps_first_and_last_and_what_leads_to_the_answer() -> None:
    assert kept("asap", 0.75, anchor="10") == [0, 2, 4, 5]
    assert kept("asap", 0.75) == [0, 1, 3, 5]


def test_last_k_keeps_the_end() -> None:
    assert kept("last_k", 0.5) == [4, 5]


def test_none_keeps_all() -> None:
    result = compress(Chain(TEXT), SCORES, 0.1, "none")
    assert (result.text, result.kept, result.note) == (TEXT, 1.0, None)


def test_random_is_reproducible_and_depends_on_the_seed() -> None:
    texts = {compress(Chain(TEXT), SCORES, 0.5, "random", seed).text for seed in range(8)}
    assert len(texts) > 2
    assert compress(Chain(TEXT), SCORES, 0.5, "random", 1) == compress(Chain(TEXT), SCORES, 0.5, "random", 1)


def test_every_removed_step_is_listed_with_its_score() -> None:
    result = compress(Chain(TEXT, anchor="10"), SCORES, 0.75)
    report = result.as_json(TEXT)
    assert [row["step"] for row in report["removed"]] == [1, 3]
    assert report["removed"][0] == {"step": 1, "text": "Hmm, maybe not.", "tokens": 3, "score": 2.0, "on_route": False}
    assert report["tokens"]["after"] + sum(row["tokens"] for row in report["removed"]) == report["tokens"]["before"]


def test_of_equal_steps_the_one_that_was_scored_goes() -> None:
    text = "Say it.\n\nSame.\n\nThen more.\n\nSame.\n\nEnd it."
    result = compress(Chain(text), scores_for(text, (9, 5, 8, 0.1, 9)), 0.9, "first_token_only")
    assert result.text == "Say it.\n\nSame.\n\nThen more.\n\nEnd it."


def test_a_budget_below_what_is_protected_says_what_it_could_reach() -> None:
    result = compress(Chain(TEXT), SCORES, 0.1)
    assert not result.met
    assert result.note is not None
    assert f"reached {result.kept_tokens}" in result.note
    assert "first step, last step" in result.note


@pytest.mark.parametrize("text", ["only one.", "```\na\n\nb\n```", ""])
def test_a_chain_of_one_step_stays_whole(text: str) -> None:
    result = compress(Chain(text), scores_for(text, (1.0,) if text else ()), 0.1)
    assert result.text == text
    assert result.note is not None
    assert "one step" in result.note


def test_definitions_are_protected() -> None:
    text = "Well now.\n\nLet x be 4.\n\nHm hm.\n\nSo x+1 is 5."
    result = compress(Chain(text), scores_for(text, (1, 0.0, 0.5, 1)), 0.1)
    assert result.steps[1].protected == "definition"
    assert result.text == "Well now.\n\nLet x be 4.\n\nSo x+1 is 5."


@pytest.mark.parametrize(("budget", "expected"), [(0.5, 10), (1, 20), (7, 7), (7.0, 7), (0.29, 5)])
def test_budgets_are_shares_or_tokens(budget: float, expected: int) -> None:
    assert budget_tokens(budget, 20) == expected


@pytest.mark.parametrize("budget", [0, -1, 1.5])
def test_other_budgets_are_refused(budget: float) -> None:
    with pytest.raises(RequestError, match="share of the chain's tokens"):
        budget_tokens(budget, 20)


@given(
    st.lists(st.sampled_from(["a = 3", "So b.", "- c d", "```\nx\n```", "Let x be 3."]), min_size=1, max_size=12),
    st.floats(0.01, 1),
    st.sampled_from(METHODS),
    st.randoms(use_true_random=False),
)
def test_what_is_left_is_a_subsequence_within_what_can_be_reached(parts, budget, method, rng) -> None:
    text = "\n\n".join(parts)
    steps = split_steps(text)
    scores = scores_for(text, tuple(rng.random() for _ in steps))
    result: Compression = compress(Chain(text), scores, budget, method)
    left = [text[report.step.start : report.step.end] for report in result.steps if report.kept]
    assert left
    assert result.text.strip() == "".join(left).strip()
    assert result.kept_tokens == sum(report.tokens for report in result.steps if report.kept)
    assert all(report.kept for report in result.steps if report.protected)
    assert result.met or result.note or method == "none"
