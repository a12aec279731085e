"""Documentation that is generated from the code, so that it cannot drift; a test compares it with the README."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from reasonprune.options import POLICY_OPTIONS, Options, PolicyOptions, ServerOptions, Settings, SpeculativeOptions


def _rows(model: type[BaseModel], prefix: str, skip: type[BaseModel] | None = None, note: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if field.description is None or (skip and name in skip.model_fields):
            continue
        default = "" if field.default is None or field.default_factory else f"`{field.default}`"
        yield f"| `{prefix}{name}`{note} | {default} | {field.description} |"


def settings_table() -> str:
    """Every setting as a Markdown table. The same names serve the request field, TOML, environment and flags."""
    rows = ["| setting | default | what it is |", "|---|---|---|"]
    rows += _rows(Options, "")
    rows += _rows(PolicyOptions, "parallel.")
    for policy, options in POLICY_OPTIONS.items():
        rows += _rows(options, "parallel.", PolicyOptions, f" ({policy})")
    rows += _rows(SpeculativeOptions, "speculative.")
    rows += _rows(Settings, "", Options)
    rows += _rows(ServerOptions, "server.")
    return "\n".join(rows) + "\n"
