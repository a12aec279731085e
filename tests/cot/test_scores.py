from __future__ import annotations

import pytest

from reasonprune.cot.scores import TokenScores, check_fingerprint, fingerprint, from_token_texts, score_steps
from reasonprune.cot.steps import split_steps
from reasonprune.errors import ScoreError


def scores_of(tokens: list[str], logprobs: list[float | None]) -> tuple[str, TokenScores]:
    text = "".join(tokens)
    return text, from_token_texts(text, tokens, logprobs, "recorded")


def test_a_step_is_scored_by_its_first_token_and_by_their_mean() -> None:
    text, scores = scores_of(["So", " it", ".\n\n", "Wait", "!"], [-2.0, -0.5, -0.5, -3.0, -1.0])
    first, second = score_steps(split_steps(text), scores)
    assert (first.tokens, first.surprisal, first.mean) == (3, 2.0, 1.0)
    assert (second.tokens, second.surprisal, second.mean) == (2, 3.0, 2.0)


def test_list_marks_are_not_what_a_step_begins_with() -> None:
    text, scores = scores_of(
        ["1", ".", " Add", " 2", "\n", "2", ".", " **", "Take"], [-0.1] * 2 + [-4.0] + [-0.1] * 5 + [-5]
    )
    assert [score.surprisal for score in score_steps(split_steps(text), scores)] == [4.0, 5]


def test_a_token_that_is_not_known_leaves_its_step_without_surprisal() -> None:
    text, scores = scores_of(["Add", " it", ".\n\n", "Go"], [None, -1.0, -3.0, -1.0])
    first, second = score_steps(split_steps(text), scores)
    assert (first.surprisal, first.mean) == (None, 2.0)
    assert second.surprisal == 1.0


def test_tokens_around_the_chain_are_left_out() -> None:
    scores = from_token_texts(
        "Add it.", ["<think>", "\n", "Add", " it", ".", "</think>"], [-9, -9, -1, -2, -3, -9], "recorded"
    )
    assert scores == TokenScores((0, 3, 6), (-1, -2, -3), "recorded")


def test_a_token_that_reaches_into_the_chain_counts() -> None:
    assert from_token_texts("Add", [">\nA", "dd"], [-1, -2], "recorded").starts == (0, 1)


@pytest.mark.parametrize("tokens", [["other", "text"], []])
def test_tokens_of_another_text_are_refused(tokens: list[str]) -> None:
    with pytest.raises(ScoreError, match="do not spell the chain"):
        from_token_texts("Add it.", tokens, [-1.0] * len(tokens), "recorded")


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ScoreError, match="2 tokens came with 1"):
        from_token_texts("ab", ["a", "b"], [-1.0], "recorded")
    with pytest.raises(ScoreError, match="1 tokens, but 2"):
        TokenScores((0,), (-1.0, -1.0), "recorded")
    with pytest.raises(ScoreError, match="not in order"):
        TokenScores((3, 1), (-1.0, -1.0), "recorded")


class Vocabulary(dict[str, int]):
    """A tokenizer as far as its fingerprint goes."""

    def get_vocab(self) -> dict[str, int]:
        return self


def test_another_tokenizer_is_refused_by_its_fingerprint() -> None:
    mine, other = fingerprint(Vocabulary(a=0, b=1)), fingerprint(Vocabulary(a=1, b=0))
    assert mine == fingerprint(Vocabulary(b=1, a=0))
    check_fingerprint(mine, mine, "line 1")
    with pytest.raises(ScoreError, match=f"line 1: .*{other}.*{mine}"):
        check_fingerprint(other, mine, "line 1")
    with pytest.raises(ScoreError, match="not named"):
        check_fingerprint(None, mine, "line 1")
