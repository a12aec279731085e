import os
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("shared-machine", deadline=None)  # how long an example takes says nothing there
hypothesis.settings.load_profile("shared-machine")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Data sets of others, which the project does not hold: REASONPRUNE_DATA, or `shared/data` beside the project."""
    folder = Path(os.environ.get("REASONPRUNE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("the data sets are not here; set REASONPRUNE_DATA to their folder")
    return folder
