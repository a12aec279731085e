import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonprune.parallel.clusters import Clusters


def fill(clusters: Clusters, letters: str) -> list[int]:
    """Places one trace for each letter; those of one letter are alike. Where each went."""
    return [clusters.place(i, similar(clusters.ask(i), letters)) for i in range(len(letters))]


def similar(pairs, letters: str) -> dict[tuple[int, int], float]:
    return {(a, b): float(letters[a] == letters[b]) for a, b in pairs}


def test_the_first_trace_opens_a_cluster_unasked():
    clusters = Clusters(0.5, 10, 32)
    assert clusters.ask(7) == ()
    assert clusters.place(7, {}) == 0
    assert clusters.members == [[7]]


def test_traces_of_a_kind_come_together_in_order_of_their_visits():
    clusters = Clusters(0.5, 10, 32)
    assert fill(clusters, "abacb") == [0, 1, 0, 2, 1]
    assert clusters.members == [[0, 2], [1, 4], [3]]


@pytest.mark.parametrize(("comparisons", "asked"), [(1, 2), (2, 3), (3, 4), (9, 4)])
def test_a_trace_is_compared_with_few_of_every_cluster(comparisons, asked):
    clusters = Clusters(0.5, comparisons, 32)
    fill(clusters, "aaab")
    pairs = clusters.ask(4)
    assert len(set(pairs)) == len(pairs) == asked
    assert {trace for trace, _ in pairs} == {4}
    assert (4, 3) in pairs


@pytest.mark.parametrize(("threshold", "cluster"), [(0.59, 0), (0.6, 1)])
def test_the_mean_similarity_must_be_above_the_threshold(threshold, cluster):
    clusters = Clusters(threshold, 10, 32, members=[[0, 1]])
    assert set(clusters.ask(2)) == {(2, 0), (2, 1)}
    assert clusters.place(2, {(2, 0): 0.5, (2, 1): 0.7}) == cluster


def test_a_trace_joins_the_most_similar_cluster_not_the_first_or_the_largest():
    clusters = Clusters(0.5, 10, 32, members=[[0, 1], [2], [3]])
    clusters.ask(4)
    assert clusters.place(4, {(4, 0): 0.9, (4, 1): 0.7, (4, 2): 0.85, (4, 3): 0.6}) == 1
    assert clusters.members == [[0, 1], [2, 4], [3]]


@pytest.mark.parametrize("similarities", [{(2, 0): 0.1, (2, 1): 0.2}, {(2, 0): 0.0, (2, 1): 0.0}])
def test_where_no_more_clusters_may_be_opened_the_most_similar_takes_it(similarities):
    clusters = Clusters(0.5, 10, 2, members=[[0], [1]])
    clusters.ask(2)
    assert clusters.place(2, similarities) == (1 if similarities[2, 1] else 0)
    assert len(clusters.members) == 2


@given(letters=st.text("abcd", max_size=12), comparisons=st.integers(1, 4), most=st.integers(1, 5))
def test_every_trace_is_in_one_cluster_whatever_was_compared(letters, comparisons, most):
    clusters, again = Clusters(0.5, comparisons, most), Clusters(0.5, comparisons, most)
    fill(clusters, letters)
    assert sorted(trace for cluster in clusters.members for trace in cluster) == list(range(len(letters)))
    assert len(clusters.members) == min(most, len(set(letters)))
    fill(again, letters)
    assert again.members == clusters.members
