"""A small graph of films and persons, and the real sentence encoder."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from film_triples import FILMS

from reasonprune.graph.memory import MemoryStore


@pytest.fixture
def films() -> MemoryStore:
    return MemoryStore(FILMS)


@pytest.fixture(scope="session")
def encoder() -> Iterator[Any]:
    if find_spec("sentence_transformers") is None:
        pytest.skip("sentence-transformers is not installed; run `make setup`")
    from reasonprune.errors import ModelError
    from reasonprune.sentence_encoder import shared_encoder

    try:
        yield shared_encoder()
    except ModelError as error:
        pytest.skip(f"the sentence encoder is not here: {error.message}")
