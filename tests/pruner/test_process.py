from __future__ import annotations

from typing import Any

import pytest

from reasonprune.errors import RequestError
from reasonprune.pruner.sentences import split

TOWER = (
    "The Eiffel Tower stands on the Champ de Mars in Paris. It was named after the engineer Gustave Eiffel.[1] "
    "The tower is 330 metres tall. Lunch in the restaurant is expensive."
)
BEES = "Bees make honey in hives. A hive has one queen. Wasps build nests of paper."
TALL = "How tall is the Eiffel Tower?"
HONEY = "What do bees make?"


def test_one_document(pruner: Any) -> None:
    result = pruner.process(TALL, TOWER)
    assert "The tower is 330 metres tall." in result["pruned_context"]
    assert "Champ de Mars" not in result["pruned_context"]
    assert "Lunch" not in pruner.process(TALL, TOWER, threshold=0.3)["pruned_context"]
    removed = 100 * (1 - len(result["pruned_context"]) / len(TOWER))
    assert result["compression_rate"] == pytest.approx(removed)
    assert 0 < result["reranking_score"] <= 1
    assert result.keys() == {"pruned_context", "reranking_score", "compression_rate", "title", "timing"}


def test_what_is_kept_is_an_exact_substring(pruner: Any) -> None:
    result = pruner.process(TALL, TOWER, return_spans=True, return_sentence_texts=True, return_sentence_metrics=True)
    assert " ".join(TOWER[start:end].strip() for start, end in result["kept_spans"]) == result["pruned_context"]
    units = split(TOWER)
    assert result["sentence_spans"] == [(unit.start, unit.end) for unit in units]
    assert len(result["sentence_probabilities"]) == len(units)
    assert sorted(result["kept_sentences"] + result["removed_sentences"]) == sorted(
        TOWER[unit.start : unit.end] for unit in units
    )


def test_documents_of_one_question_are_ranked(pruner: Any) -> None:
    result = pruner.process(TALL, [BEES, TOWER], reorder=True)
    assert "330" in result["pruned_context"][0]
    assert result["reranking_score"][0] > result["reranking_score"][1]
    best = pruner.process(TALL, [BEES, TOWER], reorder=True, top_k=1)
    assert best["pruned_context"] == result["pruned_context"][:1]
    assert pruner.rerank(HONEY, [TOWER, BEES, " "])[1] == max(pruner.rerank(HONEY, [TOWER, BEES, " "]))


def test_all_shapes_agree(pruner: Any) -> None:
    one = pruner.process(TALL, TOWER)["pruned_context"]
    other = pruner.process(HONEY, BEES)["pruned_context"]
    assert pruner.process([TALL, HONEY], [TOWER, BEES])["pruned_context"] == [one, other]
    assert pruner.process([TALL, HONEY], [[TOWER], [BEES]])["pruned_context"] == [[one], [other]]
    sentences = [TOWER[unit.start : unit.end] for unit in split(TOWER)]
    assert pruner.process(TALL, [sentences])["pruned_context"] == [one]


def test_the_threshold_runs_from_all_to_nothing(pruner: Any) -> None:
    assert pruner.process(TALL, TOWER, threshold=0)["pruned_context"] == TOWER
    nothing = pruner.process(TALL, TOWER, threshold=1)
    assert (nothing["pruned_context"], nothing["reranking_score"], nothing["compression_rate"]) == ("", 0.0, 100.0)
    assert pruner.process(TALL, TOWER, threshold=1, zero_score_when_empty=False)["reranking_score"] > 0


def test_titles(pruner: Any) -> None:
    text = "Notes of a trip\n" + TOWER
    kept = pruner.process(TALL, text, always_select_title=True)["pruned_context"]
    assert kept.startswith("Notes of a trip")
    line = pruner.process(TALL, text, first_line_as_title=True, always_select_title=True, return_sentence_texts=True)
    assert line["title"] == "Notes of a trip"
    assert line["kept_sentences"][0].strip() == "Notes of a trip"
    assert line["pruned_context"] in TOWER
    given = pruner.process(TALL, TOWER, title="Eiffel Tower", return_spans=True)
    assert given["title"] == "Eiffel Tower"
    assert all(TOWER[start:end].strip() in given["pruned_context"] for start, end in given["kept_spans"])


def test_tables_and_code_survive_whole(pruner: Any) -> None:
    text = (
        "Heights of towers.\n\n| tower | height |\n|---|---|\n| Eiffel Tower | 330 metres tall |\n"
        "| Blackpool | 158 metres |\n\n```py\nprint('lunch')\n```\n\nBees make honey in hives."
    )
    kept = pruner.process(TALL, text, threshold=0.02)["pruned_context"]
    assert "| tower | height |\n|---|---|\n| Eiffel Tower | 330 metres tall |" in kept
    assert kept.count("```") in (0, 2)


def test_roundings_and_own_splitters(pruner: Any) -> None:
    for rounding in ("mean", "votes", "majority"):
        assert "330" in pruner.process(TALL, TOWER, rounding=rounding, threshold=0.02)["pruned_context"]
    kept = pruner.process("What is red?", "sky: blue; rose: red", sentence_splitter=lambda text: text.split("; "))
    assert kept["pruned_context"] in ("sky: blue; rose: red", "rose: red", "sky: blue;", "")
    with pytest.raises(RequestError, match="only for xx"):
        pruner.process(TALL, TOWER, sentence_splitter={"xx": str.split})


@pytest.mark.parametrize("text", ["", " \n ", "One sentence only", "你好。今天天气很好。", "مرحبا بكم. كيف حالك؟"])
def test_short_blank_and_other_scripts(pruner: Any, text: str) -> None:
    result = pruner.process("What?", text, return_spans=True, return_sentence_metrics=True)
    assert result["pruned_context"] in ("", text) or result["pruned_context"] in text
    assert pruner.process("What?", text, threshold=0)["pruned_context"] == text


def test_a_sentence_longer_than_the_window(pruner: Any) -> None:
    endless = " ".join(f"item {i}" for i in range(800)) + " the tower is 330 metres tall " + "x" * 3000
    result = pruner.process(TALL, endless, threshold=0, return_sentence_metrics=True)
    assert result["pruned_context"] == endless
    assert len(result["sentence_probabilities"]) == 1


def test_a_long_document_is_read_in_windows(pruner: Any) -> None:
    text = "Bees are busy. " * 60 + "The Eiffel Tower is 330 metres tall. " + "Bees are busy. " * 60
    result = pruner.process(TALL, text)
    assert "330" in result["pruned_context"]
    assert result["compression_rate"] > 50


def test_a_question_longer_than_the_window(pruner: Any) -> None:
    question = "Bees are busy. " * 200 + TALL
    assert "pruned_context" in pruner.process(question, TOWER)


def test_ten_thousand_sentences(pruner: Any) -> None:
    text = "Yes. " * 10_000
    result = pruner.process("No?", text, threshold=0, return_spans=True)
    assert result["pruned_context"] == text
    assert len(result["sentence_spans"]) == 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, "from 0"),
        ({"threshold": -0.1}, "from 0"),
        ({"threshold": True}, "from 0"),
        ({"rounding": "most"}, "known are mean"),
        ({"batch_size": 0}, "at least 1"),
        ({"top_k": -1}, "0 or more"),
        ({"first_line_as_title": True, "title": "x"}, "exclude each other"),
    ],
)
def test_bad_options_are_named(pruner: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        pruner.process(TALL, TOWER, **options)
