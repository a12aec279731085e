"""Documentation that is generated from the code, so that it cannot drift; a test compares it with the README."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from reasonprune.options import TECHNIQUES, Options, ServerOptions, Settings
from reasonprune.policy_options import POLICY_OPTIONS, PolicyOptions


def _rows(model: type[BaseModel], prefix: str, skip: type[BaseModel] | None = None, note: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if field.description is None or (skip and name in skip.model_fields):
            continue
        unset = field.default is None or field.is_required() or field.default_factory
        default = "" if unset else f"`{field.default}`"
        yield f"| `{prefix}{name}`{note} | {default} | {field.description} |"


def settings_table() -> str:
    """Every setting as a Markdown table. The same names serve the request field, TOML, environment and flags."""
    rows = ["| setting | default | what it is |", "|---|---|---|"]
    rows += _rows(Options, "")
    rows += _rows(PolicyOptions, "parallel.")
    for policy, options in POLICY_OPTIONS.items():
        rows += _rows(options, "parallel.", PolicyOptions, f" ({policy})")
    for technique, section in TECHNIQUES.items():
        rows += _rows(section, f"{technique}.")
    rows += _rows(Settings, "", Options)
    rows += _rows(ServerOptions, "server.")
    return "\n".join(rows) + "\n"
