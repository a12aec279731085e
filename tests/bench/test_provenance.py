import datetime
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from reasonprune.bench import provenance as module
from reasonprune.bench.provenance import provenance, sha256, write


def test_everything_needed_to_run_it_again(tmp_path, monkeypatch):
    data = tmp_path / "pool.json"
    data.write_bytes(b"traces")
    arguments = ["bench", "pool", str(data), f"--out={tmp_path}/out.json", "--model", "org/name", "--set", "n=a b"]
    monkeypatch.setattr(sys, "argv", ["/somewhere/reasonprune", *arguments])
    found = provenance(7, data, "org/name")
    assert found["command"] == "reasonprune bench pool pool.json --out=out.json --model org/name --set 'n=a b'"
    assert found["data"] == {"file": "pool.json", "sha256": hashlib.sha256(b"traces").hexdigest()}
    assert (found["seed"], found["model"]) == (7, "org/name")
    assert datetime.date.fromisoformat(found["date"])
    assert {"python", "reasonprune"} <= found["versions"].keys()
    assert str(tmp_path) not in json.dumps(found)


def test_a_script_is_named_as_it_is_run_from_the_tree(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/scale.py", "--triples", "9"])
    assert provenance(None)["command"] == "python benchmarks/scale.py --triples 9"


def test_a_model_in_a_folder_is_named_without_its_place():
    assert provenance(0, None, "/somewhere/tiny-depth")["model"] == "tiny-depth"
    assert provenance(0, None, "org/model")["model"] == "org/model"


def test_without_data_or_seed():
    found = provenance(None)
    assert (found["data"], found["seed"], found["model"]) == (None, None, None)


def test_sha256_of_a_file_larger_than_one_block(tmp_path):
    file = tmp_path / "large"
    file.write_bytes(b"x" * (2**20 + 1))
    assert sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("answers", "commit"),
    [({"rev-parse": "abc\n", "status": ""}, "abc"), ({"rev-parse": "abc\n", "status": " M x\n"}, "abc+"), ({}, None)],
)
def test_the_commit_is_marked_where_the_tree_has_changes(monkeypatch, answers, commit):
    def git(command: list[str], **options) -> subprocess.CompletedProcess:
        if command[3] not in answers:
            raise subprocess.CalledProcessError(128, command)
        return subprocess.CompletedProcess(command, 0, answers[command[3]])

    monkeypatch.setattr(module.subprocess, "run", git)
    assert provenance(0)["commit"] == commit


def test_results_are_written_whole(tmp_path):
    out = tmp_path / "new" / "result.json"
    write(out, {"accuracy": 0.5})
    assert json.loads(out.read_text()) == {"accuracy": 0.5}
    assert out.read_text().endswith("}\n")
    with pytest.raises(TypeError):
        write(out, {"accuracy": Path()})
    assert json.loads(out.read_text()) == {"accuracy": 0.5}
    assert list(out.parent.iterdir()) == [out]
