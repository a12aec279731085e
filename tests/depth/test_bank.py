from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasonprune.depth import LayerProgram
from reasonprune.depth.bank import check_bank, read_bank
from reasonprune.errors import ModelError

GOOD = {"model": "m", "layers": 6, "programs": {"lean": {"program": "0-3,5", "accuracy": 0.5, "source": "dev"}}}


@pytest.fixture
def written(tmp_path):
    def write(content: object) -> Path:
        path = tmp_path / "bank.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_a_bank_names_programs(written):
    bank = read_bank(written(GOOD))
    assert bank.parsed == {"lean": LayerProgram.parse("0-3,5")}
    assert bank.programs["lean"].source == "dev"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ([], "is wrong at the file"),
        ({**GOOD, "programs": {"lean": {"program": "5-3"}}}, "programs.lean.program: .*5,4,3"),
        ({**GOOD, "programs": {"auto": {"program": "0"}}}, "programs.auto.*cannot be a name"),
        ({**GOOD, "programs": {"0-3": {"program": "0"}}}, "cannot be a name"),
        ({**GOOD, "layers": 0}, "layers"),
        ({**GOOD, "colour": 1}, "colour"),
    ],
)
def test_what_is_wrong_is_named(written, content, words):
    with pytest.raises(ModelError, match=words):
        read_bank(written(content))


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        read_bank(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("layers", "program", "words"), [(30, "0-3", "has 6 layers; this model has 30"), (6, "0-5,5", "'lean'.*runs 7")]
)
def test_a_bank_must_fit_the_engine(written, layers, program, words):
    path = written({**GOOD, "programs": {"lean": {"program": program}}})
    with pytest.raises(ModelError, match=words):
        check_bank(read_bank(path), path, layers, layers)
