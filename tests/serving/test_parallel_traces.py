"""Requests answered by parallel traces, through the OpenAI SDK and plain HTTP, on the real engine."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from server_process import ANSWER
from transformers import AutoTokenizer

from reasonprune.answers import canonical, extract_answer
from reasonprune.models import resolve


def ask(server: Any, body: dict[str, Any], **field: Any) -> dict[str, Any]:
    with server.client() as client:
        answer = client.post("/v1/chat/completions", json={**body, "reasonprune": field})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_account_adds_up(server: Any, body: dict[str, Any]) -> None:
    result = ask(server, body, parallel={"policy": "self_consistency", "n": 8})
    account = result["reasonprune"]
    parallel = account["parallel"]
    assert account["applied"] == ["parallel"]
    assert account["not_applied"] == []
    assert parallel["finished"] == parallel["started"] == 8
    assert sum(trace["tokens"] for trace in parallel["traces"]) == account["tokens"]["generated"]
    assert result["usage"]["completion_tokens"] == account["tokens"]["generated"]
    assert result["usage"]["total_tokens"] == result["usage"]["prompt_tokens"] + account["tokens"]["generated"]
    chosen = parallel["traces"][parallel["chosen"][0]]
    assert chosen["tokens"] == account["tokens"]["returned"]


def test_the_majority_is_returned(server: Any, body: dict[str, Any]) -> None:
    result = ask(server, body, parallel={"policy": "self_consistency", "n": 16})
    parallel = result["reasonprune"]["parallel"]
    votes = Counter(trace["answer"] for trace in parallel["traces"] if trace["answer"])
    assert parallel["votes"] == dict(votes)
    assert parallel["answer"] == votes.most_common(1)[0][0]
    text = result["choices"][0]["message"]["content"]
    assert canonical(extract_answer(text) or "") == parallel["answer"]


def test_consensus_stops_traces_mid_generation(server: Any, body: dict[str, Any]) -> None:
    easy = body | {"messages": [{"role": "user", "content": "Start with 10, add 20, add 5. What do you get?"}]}
    stopped = []
    for _ in range(4):
        parallel = ask(server, easy, parallel={"policy": "consensus", "n": 16, "start": 16})["reasonprune"]["parallel"]
        stopped += [trace for trace in parallel["traces"] if trace["state"] == "pruned"]
        longest = max(trace["ended_after_ms"] for trace in parallel["traces"])
        assert longest == pytest.approx(parallel["decided_after_ms"], abs=50)
    assert stopped
    assert all("leader" in trace["reason"] for trace in stopped)


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        ("adaptive_consistency", {"n": 4}),
        ("esc", {"n": 6, "window": 3}),
        ("deepconf", {"n": 6, "warmup": 3, "window": 8}),
        ("deepconf", {"n": 6, "warmup": 3, "window": 8, "mode": "low"}),
        ("parallel_probe", {"n": 4, "every": 16, "stable": 2, "warmup": 1}),
        ("deepprune", {"n": 12, "every": 16}),
        ("deepprune", {"n": 6, "judge": "llm", "comparisons": 1}),
        ("deepprune", {"n": 6, "when": "prefix", "prefix": 16, "finish": 3}),
        ("best_of_n", {"n": 4, "threshold": 0.9}),
        ("best_of_n", {"n": 6, "self_eval": "head", "waves": "all", "prune_at": [16, 32]}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_policy_answers(
    server: Any, body: dict[str, Any], policy: str, options: dict[str, Any], stream: bool
) -> None:
    if stream:
        chunks, text = collect(server, body, {"parallel": {"policy": policy, **options}})
        account = chunks[-1]["reasonprune"]
    else:
        result = ask(server, body, parallel={"policy": policy, **options})
        account, text = result["reasonprune"], result["choices"][0]["message"]["content"]
    parallel = account["parallel"]
    assert parallel["policy"] == policy
    assert parallel["policy_failure"] is None
    assert account["not_applied"] == []
    assert 1 <= parallel["started"] <= options["n"]
    total = sum(trace["tokens"] for trace in parallel["traces"]) + account["tokens"]["probes"]
    assert account["tokens"]["generated"] == total
    assert canonical(extract_answer(text) or "") == parallel["answer"]
    assert server.wait_idle()


def collect(server: Any, body: dict[str, Any], field: dict[str, Any], **more: Any) -> tuple[list[dict[str, Any]], str]:
    """All chunks of a streamed answer and its text; the stream must end with [DONE]."""
    with (
        server.client() as client,
        client.stream(
            "POST", "/v1/chat/completions", json={**body, **more, "stream": True, "reasonprune": field}
        ) as answer,
    ):
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
        assert answer.headers["x-reasonprune-applied"] == "parallel"
    assert lines.pop() == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    return chunks, text


def test_streaming_gives_the_winner_then_the_account(server: Any, body: dict[str, Any]) -> None:
    chunks, text = collect(server, body, {"parallel": {"policy": "self_consistency", "n": 4}})
    assert all("reasonprune" not in chunk for chunk in chunks[:-1])
    parallel = chunks[-1]["reasonprune"]["parallel"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert canonical(extract_answer(text) or "") == parallel["answer"]
    assert len(chunks) > 10, "the winner's tokens come in the pieces in which they were generated"


def test_the_usage_chunk_is_honest(server: Any, body: dict[str, Any]) -> None:
    field = {"parallel": {"policy": "self_consistency", "n": 4}}
    chunks, _ = collect(server, body, field, stream_options={"include_usage": True})
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == chunks[-1]["reasonprune"]["tokens"]["generated"]


def test_comments_keep_the_connection_alive_while_traces_compete(server: Any, body: dict[str, Any]) -> None:
    field = {"parallel": {"policy": "self_consistency", "n": 32}}
    with server.client() as client:
        text = client.post("/v1/chat/completions", json={**body, "stream": True, "reasonprune": field}).text
    first = text.index("data: ")
    assert text[:first].count(": traces are competing\n\n") >= 1


@pytest.mark.parametrize("stream", [False, True])
def test_n_gives_the_best_traces_in_rank_order(server: Any, body: dict[str, Any], stream: bool) -> None:
    field = {"parallel": {"policy": "self_consistency", "n": 8}}
    if stream:
        chunks, _ = collect(server, body, field, n=3)
        texts = ["", "", ""]
        for chunk in chunks:
            for choice in chunk["choices"]:
                texts[choice["index"]] += choice["delta"].get("content") or ""
        parallel = chunks[-1]["reasonprune"]["parallel"]
    else:
        result = ask(server, body | {"n": 3}, **field)
        parallel = result["reasonprune"]["parallel"]
        texts = [choice["message"]["content"] for choice in result["choices"]]
    assert len(parallel["chosen"]) == 3
    weights = [parallel["votes"].get(canonical(extract_answer(text) or ""), 0) for text in texts]
    assert weights == sorted(weights, reverse=True)


def test_a_preset_is_chosen_by_the_models_name(server: Any, body: dict[str, Any]) -> None:
    with server.openai() as client:
        answer = client.chat.completions.create(**(body | {"model": "tiny@vote"}))
    assert answer.model == "tiny"
    assert answer.reasonprune["parallel"]["started"] == 4


def test_the_openai_sdk_sends_the_field_and_reads_the_account(server: Any, body: dict[str, Any]) -> None:
    with server.openai() as client:
        raw = client.chat.completions.with_raw_response.create(**body, extra_body={"reasonprune": {"effort": "medium"}})
        answer = raw.parse()
    assert raw.headers["x-reasonprune-applied"] == "parallel"
    assert 0 < float(raw.headers["x-reasonprune-overhead-ms"]) < 1000
    assert answer.usage.completion_tokens == answer.reasonprune["tokens"]["generated"]


def test_completions_are_raced_too(server: Any) -> None:
    prompt = "<|im_start|>user\nStart with 10, add 20, add 5. What do you get?<|im_end|>\n<|im_start|>assistant\n"
    with server.openai() as client:
        answer = client.completions.create(
            model="tiny", prompt=prompt, max_tokens=200, extra_body={"reasonprune": {"parallel": {"n": 8}}}
        )
    assert answer.reasonprune["parallel"]["answer"] == "35"
    assert extract_answer(answer.choices[0].text) == "35"


def test_logprobs_are_those_of_the_winner(server: Any, body: dict[str, Any]) -> None:
    asked = {"logprobs": True, "top_logprobs": 2}
    result = ask(server, body | asked, parallel={"policy": "self_consistency", "n": 4})
    content = result["choices"][0]["logprobs"]["content"]
    assert len(content) == result["reasonprune"]["tokens"]["returned"]
    assert all(len(token["top_logprobs"]) == 2 for token in content)


def test_logprobs_that_only_the_policy_needs_are_not_shown(server: Any, body: dict[str, Any]) -> None:
    result = ask(server, body, parallel={"policy": "deepconf", "n": 2, "warmup": 2})
    assert result["choices"][0]["logprobs"] is None


def test_structured_output_survives(server: Any, body: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"x": {"enum": [1, 2]}}, "required": ["x"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    result = ask(server, body | {"response_format": form}, parallel={"n": 8})
    value = json.loads(result["choices"][0]["message"]["content"])
    assert value in ({"x": 1}, {"x": 2})
    assert set(result["reasonprune"]["parallel"]["votes"]) <= {'{"x":1}', '{"x":2}'}


def test_tool_calls_survive(server: Any, body: dict[str, Any]) -> None:
    parameters = {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    tool = {"type": "function", "function": {"name": "add", "parameters": parameters, "strict": True}}
    choice = {"type": "function", "function": {"name": "add"}}
    # TinyReasoner would fill the arguments with blanks for ever.
    tokenizer = AutoTokenizer.from_pretrained(resolve("tiny").path)
    blank = {str(i): -100 for i in range(len(tokenizer)) if not tokenizer.decode([i]).strip()}
    result = ask(server, body | {"logit_bias": blank, "tools": [tool], "tool_choice": choice}, parallel={"n": 4})
    (call, *_) = result["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "add"
    assert json.loads(call["function"]["arguments"])["a"] in (1, 2)


def test_a_seed_gives_the_same_traces_twice(server: Any, body: dict[str, Any]) -> None:
    field = {"parallel": {"policy": "self_consistency", "n": 6}}
    one, two = (ask(server, body | {"seed": 11}, **field) for _ in range(2))
    assert one["choices"][0]["message"] == two["choices"][0]["message"]
    assert one["reasonprune"]["parallel"]["votes"] == two["reasonprune"]["parallel"]["votes"]
    assert "seed 11 + i" in one["reasonprune"]["notes"]["seed"]


def test_equal_traces_are_not_generated_twice(server: Any, body: dict[str, Any]) -> None:
    account = ask(server, body | {"temperature": 0}, parallel={"n": 8})["reasonprune"]
    assert account["applied"] == []
    (skipped,) = account["not_applied"]
    assert skipped["technique"] == "parallel"
    assert "temperature is 0" in skipped["reason"]


def test_without_an_answer_the_first_to_finish_is_returned(server: Any, body: dict[str, Any]) -> None:
    result = ask(server, body | {"max_tokens": 5}, parallel={"policy": "self_consistency", "n": 3})
    parallel = result["reasonprune"]["parallel"]
    assert parallel["answer"] is None
    assert "no trace gave an answer" in parallel["reason"]
    assert result["choices"][0]["finish_reason"] == "length"


def test_effort_off_answers_plainly_and_says_so(server: Any, body: dict[str, Any]) -> None:
    result = ask(server, body, effort="off")
    assert result["reasonprune"]["applied"] == []
    assert result["usage"]["completion_tokens"] == result["reasonprune"]["tokens"]["generated"]


def test_parallel_traces_get_hard_problems_right_more_often(server: Any, body: dict[str, Any]) -> None:
    """Not a benchmark: the right answer of one known problem leads among 32 traces."""
    result = ask(server, body, parallel={"policy": "self_consistency", "n": 32})
    assert ANSWER in list(result["reasonprune"]["parallel"]["votes"])[:3]
