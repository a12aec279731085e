import subprocess
import sys

import pytest

HEAVY = ("torch", "vllm", "transformers", "sympy", "numpy", "rdflib", "networkx")


@pytest.mark.parametrize(
    "module",
    [
        "reasonprune",
        "reasonprune.options",
        "reasonprune.settings",
        "reasonprune.parallel.policies",
        "reasonprune.pruner",
        "reasonprune.pruner.messages",
        "reasonprune.bench.context",
        "reasonprune.engine.replay",
        "reasonprune.graph.commands",
    ],
)
def test_importing_is_light(module):
    code = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
