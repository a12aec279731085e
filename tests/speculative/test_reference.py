"""Tree verification on TinyReasoner itself."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

if find_spec("torch") is None or find_spec("transformers") is None:
    pytest.skip("torch and transformers are not installed; run `make setup`", allow_module_level=True)

import torch
from test_verification import chi_square
from transformers import AutoModelForCausalLM, AutoTokenizer

from reasonprune.models import resolve
from reasonprune.speculative.fusion import best_chain, retrieval_tree
from reasonprune.speculative.matching import continuations
from reasonprune.speculative.reference import TreeDecoder
from reasonprune.speculative.tree import ROOT, Source, TokenTree
from reasonprune.speculative.verification import verify_sampling

QUESTION = "Start with 37, add 53, multiply by 7, subtract 277, add 625. What do you get?"
DRAWS = 20_000


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    folder = resolve("tiny").path
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    return model, AutoTokenizer.from_pretrained(folder)


def prompt_of(tokenizer: Any) -> list[int]:
    messages = [{"role": "user", "content": QUESTION}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)[
        "input_ids"
    ]


def retrieved(context: Sequence[int]) -> TokenTree:
    text = np.asarray(context, np.int32)
    return retrieval_tree(continuations(text, text, 6, 8, Source.REQUEST))


def chain(context: Sequence[int]) -> TokenTree:
    tree, single, node = retrieved(context), TokenTree(), ROOT
    for best in best_chain(tree, 6):
        node = single.add(node, tree.tokens[best], 0.5, Source.REQUEST)
    return single


def test_trees_and_chains_write_what_the_model_writes(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    prompt = prompt_of(tokenizer)
    decoder = TreeDecoder(model)
    plain = decoder.decode(prompt, 60, lambda context: TokenTree(), tokenizer.eos_token_id)
    by_chain = decoder.decode(prompt, 60, chain, tokenizer.eos_token_id)
    by_tree = decoder.decode(prompt, 60, retrieved, tokenizer.eos_token_id)
    assert by_tree.tokens == by_chain.tokens == plain.tokens
    assert plain.acceptance_length == 1
    assert by_tree.acceptance_length >= by_chain.acceptance_length > 1


def test_sampled_tokens_follow_the_models_distribution(tiny: tuple[Any, Any]) -> None:
    """20,000 draws of the next token, drafts of it verified as a tree, against the model's own probabilities."""
    pytest.importorskip("scipy")
    model, tokenizer = tiny
    prompt = prompt_of(tokenizer)
    decoder = TreeDecoder(model, temperature=1.5)
    plain = decoder.distributions(prompt, TokenTree())[0]
    likely = np.argsort(-plain)[:3].tolist()
    tree = TokenTree()
    for token in likely:
        tree.add(tree.add(ROOT, token, 0.5, Source.REQUEST), likely[0], 0.5, Source.REQUEST)
    target = decoder.distributions(prompt, tree)
    assert np.allclose(target[ROOT], plain, atol=1e-6)
    rng, counts = np.random.default_rng(3), np.zeros(len(plain))
    for _ in range(DRAWS):
        accepted, token = verify_sampling(tree, target, rng)
        counts[tree.tokens[accepted[0]] if accepted else token] += 1
    assert chi_square(counts, plain * DRAWS) > 0.001
