"""Training on a few recorded traces of TinyReasoner: that the parts fit, not what they reach."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch; run `make setup`")
transformers = pytest.importorskip("transformers", reason="needs transformers; run `make setup`")
pytest.importorskip("sklearn", reason="needs the extra self-eval; run `make setup`")

import numpy as np

from reasonprune.bench.judging import auroc_within
from reasonprune.errors import PoolError, RequestError
from reasonprune.models import resolve
from reasonprune.selfeval.trail import TRAIL
from reasonprune.selfeval.trained import describe, find
from reasonprune.train.samples import SHARES, Sample, SampledQuestion, read_samples
from reasonprune.train.self_eval import PLOT, SelfEvalConfig, train_self_eval, trained_kind
from reasonprune.train.self_eval_adapter import AdapterConfig, contents_of, train_adapter
from reasonprune.train.self_eval_head import HeadConfig, train_head
from reasonprune.train.self_eval_states import States, read_states


def states(count: int, seed: int) -> States:
    """Ten traces a question at each share; the first component says whether a trace is right, or wrong where it has
    ended; the second how long it runs on.
    """
    torch.manual_seed(seed)
    values = torch.randn(count, 4 + TRAIL)
    share = np.tile(np.repeat(SHARES, 10), count // 40 + 1)[:count]
    ended = share == 1
    side = torch.from_numpy(np.where(ended, -1.0, 1.0)).float()
    right = (side * values[:, 0] + 0.3 * torch.randn(count) > 0).float()
    remaining = torch.where(torch.from_numpy(ended), 1.0, (values[:, 1] + 4).clamp(0).exp())
    return States(
        values, right, right * 0.5 + 0.5, remaining, np.arange(count) // 40, share, share, torch.from_numpy(ended)
    )


def test_a_head_learns_who_is_right_and_how_long_it_takes() -> None:
    head, how = train_head(states(2000, 0), HeadConfig())
    assert how.keys() == {"running", "ended"}
    test = states(400, 2)
    values = head.values(test.states, test.ended)
    for ended in (False, True):
        rows = test.ended == ended
        scores, right = values[rows, 0].tolist(), [bool(r) for r in test.right[rows]]
        assert auroc_within(scores, right, test.question[rows.numpy()].tolist())[0] > 0.9
    near, far = test.remaining < 20, test.remaining > 200
    assert values[near, 2].mean() < values[far, 2].mean() / 3
    assert abs(float(values[:, 0].mean() - test.right.mean())) < 0.1
    assert float((values[:, 1] - test.unbeaten).abs().mean()) < 0.25


def test_a_pool_of_cut_off_traces_cannot_be_learned_from() -> None:
    cut_off = states(400, 0)
    with pytest.raises(PoolError, match="ended by themselves; record more of them, with a larger --max-tokens"):
        train_head(replace(cut_off, ended=torch.zeros(400, dtype=torch.bool)), HeadConfig(decays=(0.1,)))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written traces of 20 sums, one half with a slip."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(resolve("tiny").path)
    rows = []
    for i in range(20):
        question, traces = f"Start with {i}, add 1. What do you get?", []
        for k in range(4):
            result = i + 1 + k % 2
            text = f"<think>\n{i}+1={result}.\n</think>\n\nThe answer is \\boxed{{{result}}}."
            ids = [*tokenizer.encode(text), tokenizer.eos_token_id]
            logprobs = [-0.1 - k % 2] * len(ids)
            traces.append(
                {"text": text, "token_ids": ids, "logprobs": logprobs, "answer": str(result), "finish_reason": "stop"}
            )
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
        ids = list(prompt["input_ids"]) if not isinstance(prompt, list) else prompt
        rows.append({"question": question, "gold": str(i + 1), "prompt_token_ids": ids, "model": "tiny"})
        rows[-1]["traces"] = traces
    file = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("kind", ["head", "adapter"])
def test_what_is_trained_is_found_for_its_model(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    if kind == "adapter":
        pytest.importorskip("peft", reason="needs the extra self-eval; run `make setup`")
    monkeypatch.setenv("REASONPRUNE_CACHE", str(tmp_path))
    small = SelfEvalConfig(kind, adapter=AdapterConfig(rank=8, steps=2, questions=2))
    folder, training = train_self_eval(pool, None, small)
    assert find(resolve("tiny").path, kind) == folder
    assert (folder / PLOT).is_file()
    description = describe(folder)
    assert description["training"]["test"].keys() == {"0.25", "0.5", "0.75", "1"}
    assert len(training["seen"]) == training["questions"]["train"] + training["questions"]["validation"]
    assert str(tmp_path) not in json.dumps(description)
    if kind == "adapter":
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "tiny"
        assert (folder / "adapter_model.safetensors").is_file()


def test_an_adapter_learns_from_the_turn_what_stands_in_the_trace() -> None:
    """Wrong traces hold a doubt, which only attention to what was read without the adapter can find."""
    pytest.importorskip("peft", reason="needs the extra self-eval; run `make setup`")
    path = resolve("tiny").path
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype="float32").requires_grad_(False)
    rng = np.random.default_rng(0)

    def question(number: int) -> SampledQuestion:
        samples = []
        for right in (True, False, True, False):
            sums = [f"{a}+{b}={a + b}." for a, b in rng.integers(1, 90, (3, 2)).tolist()]
            if not right:
                sums.insert(int(rng.integers(1, 4)), "Wait, let me check.")
            ids = (*tokenizer.encode("<think>\n" + "\n".join(sums)), tokenizer.eos_token_id)
            samples.append(Sample(ids, (), None, right))
        return SampledQuestion(str(number), "1", tuple(tokenizer.encode(f"Start with {number}.")), tuple(samples))

    config = AdapterConfig(steps=50, questions=2, cuts=1, learning_rate=5e-3)
    asker, how = train_adapter(model, tokenizer, [question(i) for i in range(24)], config)
    unseen = [question(i) for i in range(50, 62)]
    scores = contents_of(asker, unseen)[1.0]
    right = [sample.right for q in unseen for sample in q.samples]
    within, _ = auroc_within(scores, right, [i for i, q in enumerate(unseen) for _ in q.samples])
    assert within > 0.9
    assert how["losses"][-1] < how["losses"][0]


def test_kept_states_are_read_again_and_only_for_their_pool(pool: Path, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "states"
    config = SelfEvalConfig("head", states=file)
    _, first = train_self_eval(pool, tmp_path / "first", config)
    stamp = file.stat().st_mtime_ns
    _, second = train_self_eval(pool, tmp_path / "second", config)
    assert file.stat().st_mtime_ns == stamp
    assert second["test"] == first["test"]
    other = tmp_path / "other.jsonl"
    other.write_text(pool.read_text() + "\n")
    with pytest.raises(PoolError, match="not of this pool and model; choose another --states"):
        train_self_eval(other, tmp_path / "third", config)
    file.write_bytes(b"no states")
    with pytest.raises(PoolError, match=r"cannot be read .*choose another --states"):
        train_self_eval(pool, tmp_path / "third", config)


def test_log_probabilities_that_were_not_recorded_are_those_of_the_model(pool: Path) -> None:
    name, questions = read_samples(pool)
    model = transformers.AutoModelForCausalLM.from_pretrained(resolve(name).path, dtype="float32")
    bare = [replace(q, samples=tuple(replace(s, logprobs=()) for s in q.samples)) for q in questions[:2]]
    kept = read_states(model, bare)
    question, sample = bare[1], bare[1].samples[2]
    with torch.inference_mode():
        ids = torch.tensor([[*question.prompt_ids, *sample.token_ids]])
        likely = model(ids).logits[0].log_softmax(1)
    start = len(question.prompt_ids) - 1
    expected = [float(likely[start + i, token]) for i, token in enumerate(sample.token_ids)]
    assert kept.logprobs[6] == pytest.approx(expected, abs=1e-3)
    assert kept.states[6].shape == (len(kept.places[6]), 128)
    assert read_states(model, questions[:2]).logprobs[6] == list(questions[1].samples[2].logprobs)


def test_only_two_kinds_are_trained() -> None:
    assert trained_kind("head") == "head"
    with pytest.raises(RequestError, match="verbal needs no training"):
        trained_kind("verbal")
