from pathlib import Path

import pytest

from reasonprune.lines import whole_lines


@pytest.mark.parametrize(("text", "lines"), [("", []), ("a\nb\n", ["a", "b"]), ("a\nhalf", ["a"]), ("half", [])])
def test_a_half_written_line_is_cut_off(tmp_path: Path, text: str, lines: list[str]) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text(text, encoding="utf-8")
    assert whole_lines(out) == lines
    assert out.read_text(encoding="utf-8") == "".join(f"{line}\n" for line in lines)


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert whole_lines(tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
