"""The pruner that ships with reasonprune, on its real encoder."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest


@pytest.fixture(scope="session")
def pruner() -> Any:
    if find_spec("torch") is None:
        pytest.skip("torch is not installed; run `make setup`")
    from reasonprune.pruner import ContextPruner

    return ContextPruner()
