"""Running the conversion (`convert.py`) in a process of its own."""

from __future__ import annotations

import re
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from reasonprune.errors import ModelError
from reasonprune.models.process import last_lines, run
from reasonprune.models.progress import Display

REQUIREMENTS = ("accelerate", "gguf", "torch", "transformers")
STEP = re.compile(r"^step (\d+)/(\d+): (.*)$", re.MULTILINE)

# Nothing in a conversion needs the network or a GPU, and its progress is in the `step` lines.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


class Conversion:
    """From a GGUF file to a Hugging Face folder in bf16, in a process of its own."""

    def check(self) -> None:
        """Raise ModelError when a package is missing that the conversion needs."""
        if missing := [name for name in REQUIREMENTS if find_spec(name) is None]:
            raise ModelError(
                f"Unpacking this model needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
                'installed. Install with `pip install "reasonprune[models]"`.'
            )

    def __call__(self, source: Path, target: Path, display: Display) -> None:
        """Convert the file `source` to the folder `target`. Raises ModelError when the process fails."""
        command = [sys.executable, "-m", "reasonprune.models.convert", str(source), str(target)]
        with tempfile.TemporaryDirectory(prefix="log-", dir=target.parent) as folder:
            log, shown = Path(folder) / "log", 0
            with display.bar_of_steps(total=3) as bar:

                def show_steps() -> None:
                    nonlocal shown
                    steps = STEP.findall(log.read_text(encoding="utf-8", errors="replace"))
                    for number, _, text in steps[shown:]:
                        bar.update(int(number) - 1, text)
                    shown = len(steps)

                status = run(command, log, ENVIRONMENT, show_steps)
                bar.update(3)
            if status != 0:
                raise ModelError(
                    f"{source.name} could not be converted (exit status {status}"
                    f"{', which means that memory ran out' if status == -9 else ''}). Check that memory and disk are "
                    'free, bring the packages up to date with `pip install -U "reasonprune[models]"`, and try again. '
                    f"The end of its output:\n{last_lines(log)}"
                )
