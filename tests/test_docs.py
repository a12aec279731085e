"""Generated parts of the documentation are in step with what they are generated from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from reasonprune.docs import settings_table

ROOT = Path(__file__).parents[1]


def test_the_readme_holds_all_settings() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.split("<!-- settings -->\n")[1].split("<!-- /settings -->")[0]
    assert shown == settings_table(), "run `python benchmarks/tables.py`"


def test_tables_of_measurements_are_those_of_the_result_files() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--check"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
