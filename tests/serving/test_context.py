"""Context pruning on a real server: before prefill, and as routes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from server_process import KEY

from reasonprune.train.label import discarded

TOWER = (
    "The Eiffel Tower stands on the Champ de Mars in Paris. It was named after the engineer Gustave Eiffel. "
    "The tower is 330 metres tall. Lunch in the restaurant is expensive. Many tourists take photographs at night. "
    "The second floor has a shop that sells postcards and umbrellas. Pigeons like the lawns around it."
)
TALL = "How tall is the Eiffel Tower?"
MESSAGES = [{"role": "user", "content": f"<document>{TOWER}</document>\n{TALL}"}]
BODY: dict[str, Any] = {"model": "tiny", "messages": MESSAGES, "max_tokens": 8, "temperature": 0}


def test_a_document_is_pruned_before_it_is_read(server: Any) -> None:
    with server.client() as client:
        whole = client.post("/v1/chat/completions", json=BODY)
        pruned = client.post("/v1/chat/completions", json=BODY | {"reasonprune": {"context": {}}})
    account = pruned.json()["reasonprune"]
    assert account["applied"] == ["context"]
    assert pruned.headers["x-reasonprune-applied"] == "context"
    assert pruned.json()["usage"]["prompt_tokens"] < whole.json()["usage"]["prompt_tokens"]
    assert account["context"]["kept"] < account["context"]["characters"] == len(TOWER)
    assert server.metric("reasonprune_context_characters_total") >= len(TOWER)


def test_an_account_comes_with_a_stream_too(server: Any) -> None:
    field = {"context": {"from_characters": 100_000}}
    with server.client() as client:
        answer = client.post("/v1/chat/completions", json=BODY | {"stream": True, "reasonprune": field})
    assert "context.from_characters" in answer.text


def test_an_unknown_key_is_named(server: Any) -> None:
    field = {"context": {"treshold": 0.1}}
    with server.client() as client:
        answer = client.post("/v1/chat/completions", json=BODY | {"reasonprune": field})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "reasonprune.context.treshold"
    assert "Did you mean 'threshold'?" in error["message"]


def test_routes_need_the_key_and_prune_and_rank(server: Any) -> None:
    body = {"question": TALL, "context": [TOWER], "return_spans": True}
    assert httpx.post(server.url + "/v1/prune", json=body).status_code == 401
    with server.client() as client:
        pruned = client.post("/v1/prune", json=body).json()
        ranked = client.post("/v1/rerank", json={"query": TALL, "documents": ["Bees fly.", TOWER]}).json()
    [spans] = pruned["kept_spans"]
    assert " ".join(TOWER[start:end].strip() for start, end in spans) == pruned["pruned_context"][0]
    assert ranked["results"][0]["index"] == 1


def test_the_components_work_over_http(server: Any) -> None:
    from reasonprune.integrations.pruning import RemotePruner, Settings, pruned

    [kept] = pruned(RemotePruner(server.url, KEY), TALL, ["Bees fly.", TOWER], Settings(top_k=1))
    assert kept.index == 1
    assert "330" in kept.text


def test_the_server_labels_evidence(server: Any, tmp_path: Path) -> None:
    data, out = tmp_path / "data.jsonl", tmp_path / "labels.jsonl"
    data.write_text(json.dumps({"question": TALL, "context": TOWER}))
    command = [sys.executable, "-m", "reasonprune.cli", "train", "pruner-labels", str(data), f"--out={out}"]
    run = subprocess.run(
        [*command, f"--upstream={server.url}"],
        capture_output=True,
        text=True,
        env=os.environ | {"REASONPRUNE_UPSTREAM_KEY": KEY},
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    rows = [json.loads(line) for file in (out, discarded(out)) for line in file.read_text().splitlines()]
    assert len(rows) == 1
    assert f"1 {rows[0]['outcome']}" in run.stdout
