from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from reasonprune.pruner.sentences import Unit
from reasonprune.pruner.windows import windows


def units_of(sizes: list[int]) -> list[Unit]:
    """Units with four characters a token."""
    found, at = [], 0
    for size in sizes:
        found.append(Unit(at, at + 4 * size))
        at += 4 * size
    return found


def test_what_fits_is_one_window() -> None:
    [window] = windows(units_of([5, 5, 5]), [5, 5, 5], 20)
    assert (window.start, window.end) == (0, 60)


def test_windows_overlap_by_whole_sentences() -> None:
    sizes = [10] * 10
    found = windows(units_of(sizes), sizes, 50)
    assert [(w.start // 40, w.end // 40) for w in found] == [(0, 5), (4, 9), (8, 10)]


def test_a_sentence_longer_than_the_window_is_cut() -> None:
    sizes = [5, 100, 5]
    found = windows(units_of(sizes), sizes, 20)
    assert (found[0].start, found[0].end) == (0, 20)
    assert (found[-1].start, found[-1].end) == (420, 440)
    assert next(w.start for w in found[1:-1]) == 20
    assert all(a.end == b.start for a, b in itertools.pairwise(found))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(8, 50))
def test_windows_cover_all_within_the_budget(sizes: list[int], budget: int) -> None:
    units = units_of(sizes)
    found = windows(units, sizes, budget)
    covered = set()
    for window in found:
        covered |= set(range(window.start, window.end))
        inside = [s for u, s in zip(units, sizes, strict=True) if window.start <= u.start and u.end <= window.end]
        assert sum(inside) <= budget
    assert covered == set(range(units[-1].end))
