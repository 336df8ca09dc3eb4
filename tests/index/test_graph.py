"""The neighbour graph against a brute-force oracle, on easy, odd and wrong input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.domain import CancelledRunError, InvalidError, NeighbourGraph
from coterie.index import candidates as candidates_module
from coterie.index import graph as graph_module
from coterie.index import graph_recall, neighbour_graph
from coterie.index import tiles as tiles_module


def oracle(vectors, k):
    """Neighbours by definition: every pair, sorted by similarity, then row."""
    n = len(vectors)
    similarities = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    neighbours = np.full((n, k), -1)
    for row in range(n):
        others = [other for other in range(n) if other != row]
        others.sort(key=lambda other: (-similarities[row, other], other))
        neighbours[row, : min(k, n - 1)] = others[:k]
    return neighbours, similarities


def check_shape(graph, n, k):
    assert graph.neighbours.shape == graph.similarities.shape == (n, k)
    assert graph.neighbours.dtype == np.int32
    assert graph.similarities.dtype == np.float32
    assert not (graph.neighbours == np.arange(n)[:, None]).any(), "a row is not its own neighbour"
    assert (np.diff(graph.similarities, axis=1) <= 0).all(), "descending"
    assert (np.abs(graph.similarities) <= 1).all()
    missing = graph.neighbours < 0
    assert (graph.similarities[missing] == -1).all()
    assert (np.diff(missing.astype(int), axis=1) >= 0).all(), "padding comes last"


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 9, 200])
def test_exact_graph_equals_the_oracle(unit, n):
    vectors = unit(n)
    graph = neighbour_graph(vectors, 8)
    check_shape(graph, n, 8)
    expected, similarities = oracle(vectors, 8)
    np.testing.assert_array_equal(graph.neighbours, expected)
    rows, columns = np.nonzero(expected >= 0)
    np.testing.assert_allclose(
        graph.similarities[rows, columns], similarities[rows, expected[rows, columns]], atol=2e-5
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 12))
def test_equal_vectors_and_equal_similarities_are_ordered_by_row(kinds, k):
    # Axes: equal rows have similarity 1, all others exactly 0, so that nearly everything is a tie.
    vectors = np.eye(6, dtype=np.float32)[kinds]
    graph = neighbour_graph(vectors, k)
    check_shape(graph, len(kinds), k)
    expected, similarities = oracle(vectors, k)
    for row in range(len(kinds)):
        true, found = expected[row][expected[row] >= 0], graph.neighbours[row][expected[row] >= 0]
        np.testing.assert_array_equal(similarities[row, found], similarities[row, true])
        copies = similarities[row, true] == 1
        np.testing.assert_array_equal(found[copies], true[copies])
        assert (np.diff(found[~copies]) > 0).all(), "equally far rows come in their order"


def test_many_copies_are_each_others_neighbours(unit):
    vectors = np.vstack([unit(1).repeat(500, axis=0), unit(100, seed=1)])
    graph = neighbour_graph(vectors, 30)
    assert (graph.neighbours[:500] < 500).all()
    np.testing.assert_allclose(graph.similarities[:500], 1.0, atol=1e-5)
    assert graph.neighbours[0].tolist() == list(range(1, 31))
    assert graph.neighbours[499].tolist() == list(range(30))


@pytest.fixture
def on_cpu(monkeypatch):
    monkeypatch.setattr(graph_module, "gpu_device", lambda: None)


@pytest.fixture
def by_cells(on_cpu, monkeypatch):
    """Send everything but the smallest input through the cells."""
    monkeypatch.setattr(graph_module, "ALL_PAIRS_ROWS_MAX", 100)


@pytest.mark.parametrize("all_pairs_rows_max", [100, 1_000])
def test_blocks_change_nothing(unit, on_cpu, monkeypatch, all_pairs_rows_max):
    monkeypatch.setattr(graph_module, "ALL_PAIRS_ROWS_MAX", all_pairs_rows_max)
    vectors = unit(300)
    whole = neighbour_graph(vectors, 10)
    monkeypatch.setattr(graph_module, "_ROWS_AT_ONCE", 70)
    monkeypatch.setattr(candidates_module, "PLANNED_AT_ONCE", 55)
    monkeypatch.setattr(tiles_module, "_TILE_ROWS", 37)
    blocks = neighbour_graph(vectors, 10)
    np.testing.assert_array_equal(blocks.neighbours, whole.neighbours)
    np.testing.assert_array_equal(blocks.similarities, whole.similarities)


def test_cells_find_family_members_and_state_true_similarities(unit, by_cells):
    vectors = unit(4_000, 32, centres=80)
    graph = neighbour_graph(vectors, 15)
    check_shape(graph, 4_000, 15)
    assert graph_recall(graph, vectors) > 0.95
    rows = np.repeat(np.arange(4_000), 15)
    stated = (vectors[rows] * vectors[graph.neighbours.ravel()]).sum(axis=1)
    np.testing.assert_allclose(graph.similarities.ravel(), stated, atol=1e-5)


def test_cells_that_are_all_read_are_exact(unit, by_cells, monkeypatch):
    monkeypatch.setattr(candidates_module, "_PROBES", 10_000)
    vectors = unit(1_000)
    expected, similarities = oracle(vectors, 10)
    true = np.take_along_axis(similarities, expected, axis=1)
    np.testing.assert_allclose(neighbour_graph(vectors, 10).similarities, true, atol=1e-6)


def test_cells_are_the_same_for_a_seed_and_handle_copies(unit, by_cells):
    vectors = np.vstack([unit(2_000, centres=40), unit(1, seed=9).repeat(60, axis=0)])
    one, other = (neighbour_graph(vectors, 12, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.neighbours, other.neighbours)
    np.testing.assert_array_equal(one.similarities, other.similarities)
    assert (one.neighbours[2_000:] >= 2_000).all()


def test_making_cells_prints_nothing(unit, by_cells, capfd):
    neighbour_graph(unit(1_000), 5)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("all_pairs_rows_max", [100, 10_000])
def test_progress_rises_to_one_and_cancelling_stops(unit, on_cpu, monkeypatch, all_pairs_rows_max):
    monkeypatch.setattr(graph_module, "ALL_PAIRS_ROWS_MAX", all_pairs_rows_max)
    monkeypatch.setattr(graph_module, "_ROWS_AT_ONCE", 100)
    monkeypatch.setattr(candidates_module, "PLANNED_AT_ONCE", 100)
    vectors = unit(1_000)
    shares: list[float] = []
    neighbour_graph(vectors, 5, progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 5
    assert shares[-1] == 1.0
    asked: list[int] = []
    with pytest.raises(CancelledRunError):
        neighbour_graph(vectors, 5, cancelled=lambda: bool(asked.append(1)) or len(asked) > 3)
    assert len(asked) == 4


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros(16, dtype=np.float32),
        np.zeros((3, 16), dtype=np.float32),
        np.full((3, 16), np.nan, dtype=np.float32),
        np.full((3, 16), np.inf, dtype=np.float32),
        np.ones((3, 16), dtype=np.float32),
        np.zeros((2, 3, 4), dtype=np.float32),
        np.zeros((3, 0), dtype=np.float32),
    ],
)
def test_wrong_vectors_are_refused(vectors):
    with pytest.raises(InvalidError):
        neighbour_graph(vectors, 2)


@pytest.mark.parametrize("k", [0, -1, 1_001])
def test_k_has_limits(unit, k):
    with pytest.raises(InvalidError, match="1 to 1000"):
        neighbour_graph(unit(5), k)


def test_one_bad_row_is_named(unit):
    vectors = unit(10)
    vectors[6, 2] = np.nan
    with pytest.raises(InvalidError, match="row 6"):
        neighbour_graph(vectors, 2)


def test_float16_and_non_contiguous_rows_are_taken(unit):
    vectors = unit(50)
    wide = np.empty((50, 32), dtype=np.float16)
    wide[:, ::2] = vectors
    expected = neighbour_graph(vectors.astype(np.float16).astype(np.float32), 3)
    np.testing.assert_array_equal(neighbour_graph(wide[:, ::2], 3).neighbours, expected.neighbours)


def test_recall_counts_what_is_missing(unit):
    vectors = unit(200)
    graph = neighbour_graph(vectors, 10)
    assert graph_recall(graph, vectors) == 1.0
    halved = graph.neighbours.copy()
    halved[:, 5:] = -1
    assert graph_recall(NeighbourGraph(halved, graph.similarities), vectors) == pytest.approx(0.5)
    repeated = graph.neighbours.copy()
    repeated[:] = repeated[:, :1]
    assert graph_recall(NeighbourGraph(repeated, graph.similarities), vectors) == pytest.approx(0.1)
    own = np.repeat(np.arange(200, dtype=np.int32)[:, None], 10, axis=1)
    assert graph_recall(NeighbourGraph(own, graph.similarities), vectors) == 0.0


def test_recall_of_next_to_nothing_is_one(unit):
    for n in (0, 1):
        assert graph_recall(neighbour_graph(unit(n), 3), unit(n)) == 1.0


def test_recall_refuses_another_sets_graph(unit):
    with pytest.raises(InvalidError):
        graph_recall(neighbour_graph(unit(5), 2), unit(6))
