from __future__ import annotations

import json

import pytest

from reasonprune.depth import LayerProgram
from reasonprune.depth.searching import SearchRun, _searched, bank_of, candidates, plot, shortest, summary
from reasonprune.errors import PoolError

RUN = SearchRun("m", "gold", simulations=4, max_tokens=64, seed=0)
FULL = LayerProgram.full(6)


def row(question, full_right, **tried):
    written = [[text.replace("_", "-").removeprefix("p"), reward] for text, reward in tried.items()]
    return {"question": question, "gold": "1", "settings": RUN.settings, "full_right": full_right, "tried": written}


ROWS = [
    row("a", True, p0_5=1.0, p0_4=1.0, p0_3=1.0),
    row("b", True, p0_5=1.0, p0_4=0.0, p0_3=0.0),
    row("c", False, p0_5=0.0, p0_4=1.0),
    row("d", False, p0_5=0.0, p0_2=0.0),
]


def test_the_shortest_program_that_was_rewarded():
    found = [shortest(r) for r in ROWS]
    assert [str(p) if p else None for p in found] == ["0-3", "0-5", "0-4", None]


def test_candidates_are_those_rewarded_most():
    assert [str(p) for p in candidates(ROWS, FULL)] == ["0-5", "0-4", "0-3"]


def test_the_summary_counts_what_was_found_by_trying():
    accuracy = {FULL: 0.5, LayerProgram.parse("0-4"): 0.5, LayerProgram.parse("0-3"): 0.25}
    found = summary(ROWS, accuracy, FULL, RUN)
    assert found["oracle"] is True
    assert found["full_accuracy"] == 0.5
    assert found["right_with_a_shorter_program"] == 0.5, "a of a and b"
    assert found["wrong_mended"] == 0.5, "c of c and d"
    assert found["mean_shortest"] == 5
    assert [(p["layers"], p["accuracy"]) for p in found["front"]] == [(4, 0.25), (5, 0.5)]


def test_the_bank_holds_the_front_but_for_full_depth():
    accuracy = {FULL: 0.9, LayerProgram.parse("0-4"): 0.5, LayerProgram.parse("0-3"): 0.6}
    bank = bank_of(accuracy, FULL, RUN, 4)
    assert {name: entry.program for name, entry in bank.programs.items()} == {"layers4": "0-3"}
    assert bank.programs["layers4"].full_accuracy == 0.9
    assert (bank.model, bank.layers) == ("m", 6)


def test_a_search_goes_on_where_it_stopped(tmp_path):
    out = tmp_path / "tried.jsonl"
    assert _searched(out, RUN) == {}
    out.write_text("".join(json.dumps(r) + "\n" for r in ROWS) + '{"question": "half a li')
    assert list(_searched(out, RUN)) == ["a", "b", "c", "d"]
    assert out.read_text().endswith("}\n"), "the half-written line is gone"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps({**ROWS[0], "settings": {"seed": 1}}) + "\n", "use the same settings or another --out"),
        ('{"colour": 1}\n', "not a search of ours"),
        ("[1]\n", "not a search of ours"),
    ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path, content, words):
    out = tmp_path / "tried.jsonl"
    out.write_text(content)
    with pytest.raises(PoolError, match=words):
        _searched(out, RUN)
    assert out.read_text() == content


def test_the_plot_is_drawn(tmp_path):
    accuracy = {FULL: 0.5, LayerProgram.parse("0-3"): 0.25}
    plot(summary(ROWS, accuracy, FULL, RUN), tmp_path / "front.svg")
    assert "<svg" in (tmp_path / "front.svg").read_text()
