from __future__ import annotations

import pytest
from typer.testing import CliRunner

from reasonprune import __version__
from reasonprune.cli import app, policy_options
from reasonprune.docs import settings_table
from reasonprune.errors import RequestError

RUN = CliRunner()


def test_version() -> None:
    assert RUN.invoke(app, ["version"]).output.strip() == __version__


def test_settings_prints_the_table_of_the_readme() -> None:
    assert RUN.invoke(app, ["settings"]).output == settings_table()


def test_models_lists_the_short_names() -> None:
    output = RUN.invoke(app, ["models"], env={"COLUMNS": "200"}).output
    assert all(name in output for name in ("demo", "smollm2", "tiny"))


def test_options_of_a_policy_come_from_pairs() -> None:
    options = policy_options("consensus", 12, ["start=6", "threshold=0.95", "answer=number"])
    assert (options.n, options.start, options.threshold, options.answer) == (12, 6, 0.95, "number")


def test_a_wrong_pair_is_named() -> None:
    with pytest.raises(RequestError, match=r"options\.parallel\.start"):
        policy_options("consensus", 12, ["start=0"])
