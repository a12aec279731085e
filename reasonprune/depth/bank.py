"""Named layer programs of one model, with where they come from: a JSON file that `reasonprune depth search` writes.

{"model": "demo", "layers": 24,
 "programs": {"lean": {"program": "0-9,12-23", "accuracy": 0.31, "full_accuracy": 0.32, "source": "..."}}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from reasonprune.depth.program import PROGRAM_NAME, LayerProgram
from reasonprune.errors import ModelError

RESERVED = ("auto", "full")


def _written_right(text: str) -> str:
    LayerProgram.parse(text)
    return text


def _name(text: str) -> str:
    if not PROGRAM_NAME.fullmatch(text) or text in RESERVED:
        raise ValueError(f"'{text}' cannot be a name: begin with a letter, and leave out {' and '.join(RESERVED)}")
    return text


class BankEntry(BaseModel):
    """One program; `accuracy` and `full_accuracy` on the questions named by `source`, where they were measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    program: Annotated[str, AfterValidator(_written_right)]
    accuracy: float | None = None
    full_accuracy: float | None = None
    source: str = ""


class Bank(BaseModel):
    """`layers`: of the model that the programs are for; `model`: its name, for people."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    layers: int = Field(ge=1)
    programs: dict[Annotated[str, AfterValidator(_name)], BankEntry]
    provenance: dict[str, Any] = Field(default_factory=dict)

    @property
    def parsed(self) -> Mapping[str, LayerProgram]:
        return {name: LayerProgram.parse(entry.program) for name, entry in self.programs.items()}


def read_bank(path: Path) -> Bank:
    """Raises ModelError naming what is wrong with the file."""
    try:
        return Bank.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ModelError(f"The bank of layer programs {path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(f"The bank of layer programs {path} is wrong at {where}: {first['msg']}.") from None
    except ValueError as error:
        raise ModelError(f"The bank of layer programs {path} is not JSON: {error}.") from None


def check_bank(bank: Bank, path: Path, layers: int, slots: int) -> None:
    """Raises ModelError where the bank is for another model, or holds a program that this engine cannot run."""
    if bank.layers != layers:
        raise ModelError(
            f"The bank of layer programs {path} is for {bank.model}, which has {bank.layers} layers; this model has"
            f" {layers}. Make one for it with `reasonprune depth search`."
        )
    for name, program in bank.parsed.items():
        if problem := program.problem(layers, slots):
            raise ModelError(f"The program '{name}' of the bank {path} cannot run here: {problem}.")
