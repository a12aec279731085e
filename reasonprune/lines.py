"""Files of lines that a run appends to, and takes up again where it was interrupted."""

from __future__ import annotations

from pathlib import Path


def whole_lines(out: Path) -> list[str]:
    """The lines of `out`, none where there is no such file; a half-written last line is cut off in the file."""
    if not out.exists():
        return []
    text = out.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if len(whole) < len(text):
        out.write_text(whole, encoding="utf-8")
    return whole.splitlines()
