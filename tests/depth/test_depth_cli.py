from __future__ import annotations

import pytest
from typer.testing import CliRunner

from reasonprune.cli import app
from reasonprune.errors import RequestError


@pytest.mark.parametrize("command", [["bench", "depth"], ["depth", "search"], ["train", "router"]])
def test_help(command):
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "--model" in result.output
    assert "--data" in result.output


def test_a_reward_must_be_one_of_two(tmp_path):
    out = str(tmp_path / "x")
    arguments = ["depth", "search", "--model", "tiny", "--data", out, "--out", out, "--json", out, "--reward", "luck"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, RequestError)
    assert "choose gold, agreement or draft" in result.exception.message
