"""Drafts for a batch, played against a target whose text is known: what is verified is what the rows then show."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from reasonprune.speculative.controller import KNOTS
from reasonprune.speculative.datastore import Datastore
from reasonprune.speculative.drafting import PROBE_EVERY, PROBE_TOKENS, REFRESH_EVERY, REST_AFTER, Drafter, Row
from reasonprune.speculative.recent import Growth, Recent
from reasonprune.speculative.tree import Source
from reasonprune.speculative.wish import KEY, Wish

LOOP = [11, 12, 13, 70_000, 15, 16] * 20


def row(tokens: Sequence[int], key: object = "a", room: int = 1000, **more: object) -> Row:
    return Row(key, np.asarray(tokens, np.int32), room, **more)  # type: ignore[arg-type]


def played(drafter: Drafter, text: Sequence[int], prompt: int, key: object = "a", wish: Wish | None = None) -> int:
    """Decodes `text` after its first `prompt` tokens as a greedy target would; returns the number of steps."""
    at, steps = prompt, 0
    while at < len(text):
        (draft,) = drafter.propose([row(text[:at], key, len(text) - at, wish=wish or Wish())])
        accepted = 0
        while accepted < min(len(draft), len(text) - at - 1) and draft[accepted] == text[at + accepted]:
            accepted += 1
        at += accepted + 1
        steps += 1
    drafter.propose([row(text, key, 0)])
    return steps


def test_a_repeating_text_takes_few_steps_and_is_counted() -> None:
    drafter = Drafter(longest=8)
    steps = played(drafter, LOOP, 12)
    assert steps < (len(LOOP) - 12) / 4
    counted = drafter.take(lambda key: key == "a")
    assert counted.steps == steps
    assert counted.tokens == len(LOOP) - 12
    assert counted.length == pytest.approx((len(LOOP) - 12) / steps)
    assert sum(counted.accepted.values()) == counted.tokens - counted.steps
    assert set(counted.drafted) == {"request"}
    assert sum(counted.accepted_at) == sum(counted.accepted.values())
    assert drafter.take(lambda key: key == "a").steps == 0, "taken once"


def test_drafts_keep_to_every_limit() -> None:
    drafter = Drafter(longest=8)
    assert drafter.propose([row(LOOP, room=0), row(LOOP, "b", room=-3)]) == [[], []]
    assert len(drafter.propose([row(LOOP, room=2)])[0]) <= 2
    assert len(drafter.propose([row(LOOP, wish=Wish(tokens=3))])[0]) <= 3
    assert len(drafter.propose([row(LOOP)])[0]) <= 8
    assert drafter.propose([row(LOOP, wish=Wish("off"))]) == [[]]
    assert drafter.propose([]) == []


def test_rows_that_move_or_are_replaced_only_lose_a_count() -> None:
    """The plain proposer knows requests by their place in the batch alone."""
    drafter = Drafter(longest=8)
    other = [5, 6, 7] * 30
    drafter.propose([row(LOOP[:60], 0), row(other[:60], 1)])
    drafts = drafter.propose([row(other[:62], 0), row(LOOP[:64], 1)])
    assert all(set(draft) <= set(text) for draft, text in zip(drafts, (other, LOOP), strict=True))
    assert drafter.totals.steps == 0


def test_a_drafter_of_the_engine_is_fused() -> None:
    drafter = Drafter(longest=6)
    fresh = [1, 2, 3, 4, 5]
    assert drafter.propose([row(fresh, drafted=[8, 9])]) == [[8, 9]], "nothing to retrieve"
    assert drafter.propose([row(fresh, "b", drafted=[8, 9], wish=Wish("retrieval"))]) == [[]]
    assert drafter.propose([row(LOOP, "c", drafted=[11, 12], first={11: 0.9}, wish=Wish("draft"))]) == [[11, 12]]
    agreed = drafter.propose([row(LOOP, "d", drafted=[11, 12], first={11: 0.9})])[0]
    assert agreed[:3] == [11, 12, 13], "retrieval goes on where the drafter ended"


def test_estimates_learn_what_is_accepted() -> None:
    drafter = Drafter(longest=4)
    before = drafter.calibration.estimate(Source.DRAFT, 1, 1.0, 1)
    text = list(range(100, 160))
    for at in range(20, 50):
        drafter.propose([row(text[:at], drafted=[1])])  # always wrong
    assert drafter.calibration.estimate(Source.DRAFT, 1, 1.0, 1) < before / 1.8
    assert drafter.totals.length == 1


def test_estimates_learn_from_what_was_not_verified() -> None:
    drafter = Drafter(longest=4)
    for knot in KNOTS:
        drafter.cost.observe(knot, float(knot))  # nothing is worth verifying
    before = drafter.calibration.estimate(Source.REQUEST, 1, 1.0, 1)
    text = [5, 6, *range(100, 140)]
    for at in range(10, 40):
        text[at:at] = [5]
        drafter.propose([row(text[: at + 1])])  # 6 never follows again
    assert drafter.totals.length == 1
    assert drafter.calibration.estimate(Source.REQUEST, 1, 1.0, 1) < before


def test_a_row_that_moved_in_memory_is_drafted_for_as_before() -> None:
    drafter, held = Drafter(longest=4), np.array(LOOP[:60], np.int32)
    drafter.propose([Row("a", held[:50], 100)])
    moved = held.copy()
    held[:] = 9
    assert drafter.propose([Row("a", moved[:51], 100)]) == [moved[51:55].tolist()]


def test_speculation_rests_while_it_costs_more_than_it_gives_and_is_tried_again() -> None:
    drafter = Drafter(longest=4)
    for knot in KNOTS:
        drafter.cost.observe(knot, float(knot))  # as slow as decoding one by one
    text = LOOP * 2
    lengths = [len(drafter.propose([row(text[: 40 + i])])[0]) for i in range(REST_AFTER + 2 * PROBE_EVERY)]
    assert not any(lengths[:REST_AFTER])
    assert max(lengths) == PROBE_TOKENS
    assert 1 <= sum(map(bool, lengths)) <= 3


def test_methods_do_not_draft_from_each_others_outputs() -> None:
    drafter = Drafter(longest=4)
    text = np.arange(100, 140, dtype=np.int32)
    drafter.propose([row(text, "x", wish=Wish("off"))])
    drafter.finish("x", text)
    assert drafter.propose([row([1, 100, 101, 102], "y")]) == [[]]
    drafter.propose([row(text, "z")])
    drafter.finish("z", text)
    assert drafter.propose([row([1, 100, 101, 102], "y2")])[0][:1] == [103]


def test_suffix_and_ngram_are_rules_of_their_own() -> None:
    drafter = Drafter(longest=4, ngram=lambda tokens, most: [42] * most)
    assert drafter.propose([row([1, 2], wish=Wish("ngram"))]) == [[42] * 4]
    assert drafter.propose([row(LOOP, "b", wish=Wish("suffix"))]) == [LOOP[:4]]
    assert Drafter(longest=4).propose([row([1, 2], wish=Wish("suffix"))]) == [[]]


def test_the_datastore_is_a_source_and_grows(tmp_path: Path) -> None:
    store = Datastore.create(tmp_path / "s", "test", "print", 100_000, 8192)
    store.add([[21, 22, 23, 70_000, 25]])
    growth = Growth(store, flush_tokens=4)
    drafter = Drafter(longest=4, store=store, growth=growth)
    assert drafter.propose([row([1, 21, 22, 23])])[0][:2] == [70_000, 25]
    drafter.propose([row([31, 32, 33, 34, 35], "b")])
    drafter.finish("b", np.array([31, 32, 33, 34, 35], np.int32))
    growth.close()
    assert store.refresh()
    assert store.tokens == 10
    assert growth.failure is None


def test_a_datastore_that_is_damaged_meanwhile_ends_no_drafting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Datastore.create(tmp_path / "s", "test", "print", 100_000)
    store.add([[21, 22, 23, 70_000, 25]])
    drafter = Drafter(longest=4, store=Datastore(tmp_path / "s"))
    shutil.rmtree(tmp_path / "s")
    for _ in range(2 * REFRESH_EVERY):
        assert drafter.propose([row([1, 21, 22, 23])])[0][:2] == [70_000, 25]
    (record,) = caplog.records
    assert "is not a datastore" in record.getMessage()
    Datastore.create(tmp_path / "s", "test", "print", 100_000).add([[21, 22, 23, 70_001, 25]])
    for _ in range(REFRESH_EVERY):
        last = drafter.propose([row([1, 21, 22, 23])])[0][:2]
    assert last == [70_001, 25]


def test_growth_that_fails_is_named_and_ends(tmp_path: Path) -> None:
    store = Datastore.create(tmp_path / "s", "test", "print", 50, 8192)
    growth = Growth(store, flush_tokens=1)
    growth.add([99])
    growth.close()
    assert growth.failure is not None
    assert "outside the vocabulary" in growth.failure
    growth.add([1])


def test_recent_responses_are_bounded() -> None:
    recent = Recent(most_tokens=10)
    for start in range(5):
        recent.add(np.arange(start * 10, start * 10 + 6, dtype=np.int32))
    assert len(recent) == 10
    assert recent.continuations(np.array([40, 41, 42], np.int32), 2, 4)[0].tokens == [43, 44]


@pytest.mark.parametrize(
    ("given", "wish"),
    [
        (None, Wish()),
        ({"other": 1}, Wish()),
        ({KEY: {"method": "off", "tokens": None}}, Wish("off")),
        ({KEY: {"method": "rasd", "tokens": 4}}, Wish(tokens=4)),
        ({KEY: "off"}, Wish("off")),
        ({KEY: 0}, Wish("off")),
        ({KEY: 5}, Wish(tokens=5)),
        ({KEY: {"method": "nonsense", "tokens": "x", "layers": 3}}, Wish()),
        ({KEY: {"method": "draft", "layers": [0, 2]}}, Wish("draft", layers=(0, 2))),
        ({KEY: []}, Wish()),
    ],
)
def test_wishes_are_read_from_extra_arguments(given: dict[str, object] | None, wish: Wish) -> None:
    assert Wish.of(given) == wish
    assert Wish.of({KEY: wish.as_argument()}) == wish
