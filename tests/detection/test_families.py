"""Families against hdbscan itself, and the cases that plain implementations get wrong."""

import hdbscan
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from worlds import World, exact_graph, unit

from coterie.detection.families import COPIES_MAX, DISTANCE_FLOOR, find_families
from coterie.domain import NeighbourGraph


def planted(seed: int, families: int = 6, size: int = 40, background: int = 120) -> np.ndarray:
    world = World(seed)
    vectors = []
    for _ in range(families):
        subject = world.subject()
        vectors += [world.subject(around=subject, spread=0.6) for _ in range(size)]
    vectors += [world.subject() for _ in range(background)]
    return np.array(vectors, np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_labels_equal_hdbscan_on_the_full_graph(seed: int) -> None:
    vectors = planted(seed)
    ours = find_families(
        exact_graph(vectors, len(vectors) - 1), np.ones(len(vectors), np.int64), min_samples=5, min_cluster_size=10
    )
    # hdbscan's min_samples leaves out self, as ours does.
    theirs = hdbscan.HDBSCAN(min_samples=5, min_cluster_size=10).fit_predict(vectors.astype(np.float64))
    assert ours.count == 6
    assert adjusted_rand_score(ours.label, theirs) > 0.99


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_graph_of_few_neighbours_is_enough(seed: int) -> None:
    vectors = planted(seed)
    full = find_families(exact_graph(vectors, 300), np.ones(len(vectors), np.int64), min_samples=5, min_cluster_size=10)
    few = find_families(exact_graph(vectors, 30), np.ones(len(vectors), np.int64), min_samples=5, min_cluster_size=10)
    assert adjusted_rand_score(full.label[:240], few.label[:240]) > 0.97  # the planted; the background is noise


def test_verbatim_repeats_are_a_family() -> None:
    """One text sent by fifty accounts, alone among unrelated texts: collapsing loses it, weighting loses it."""
    world = World(3)
    vectors = np.array([world.subject() for _ in range(60)], np.float32)
    multiplicity = np.ones(60, np.int64)
    multiplicity[7] = 50
    families = find_families(exact_graph(vectors, 20), multiplicity, min_samples=5, min_cluster_size=10)
    assert families.label[7] >= 0
    assert families.core_distance[7] == pytest.approx(DISTANCE_FLOOR)


def test_only_identical_texts() -> None:
    families = find_families(
        NeighbourGraph(np.zeros((1, 0), np.int32), np.zeros((1, 0), np.float32)),
        np.array([500]),
        min_samples=5,
        min_cluster_size=10,
    )
    assert families.label.tolist() == [0]
    assert families.strength.tolist() == [1.0]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_too_few_texts_give_no_family(n: int) -> None:
    vectors = np.array([World(1).subject() for _ in range(n)], np.float32).reshape(n, 64)
    families = find_families(exact_graph(vectors, 5), np.ones(n, np.int64), min_samples=5, min_cluster_size=10)
    assert families.count == 0
    assert len(families.label) == n


def test_the_parts_of_a_disconnected_graph_are_told_apart() -> None:
    first, second = unit(np.eye(64)[0]), unit(np.eye(64)[1])
    rng = np.random.default_rng(0)
    vectors = np.array([unit(s + 0.2 * rng.normal(size=64) / 8) for s in (first, second) for _ in range(30)])
    families = find_families(exact_graph(vectors, 10), np.ones(60, np.int64), min_samples=5, min_cluster_size=10)
    assert families.count == 2
    assert set(families.label[:30].tolist()) == {0}
    assert set(families.label[30:].tolist()) == {1}


def test_same_input_same_labels_and_huge_multiplicity_is_bounded() -> None:
    vectors = planted(4)
    multiplicity = np.ones(len(vectors), np.int64)
    multiplicity[0] = 10_000_000
    graph = exact_graph(vectors, 30)
    first = find_families(graph, multiplicity, min_samples=5, min_cluster_size=10)
    second = find_families(graph, multiplicity, min_samples=5, min_cluster_size=10)
    assert np.array_equal(first.label, second.label)
    multiplicity[0] = COPIES_MAX
    assert np.array_equal(first.label, find_families(graph, multiplicity, min_samples=5, min_cluster_size=10).label)


def one_place(texts: int) -> np.ndarray:
    world = World(0)
    subject = world.subject()
    return np.array([world.subject(around=subject, spread=0.6) for _ in range(texts)], np.float32)


def background(texts: int) -> np.ndarray:
    world = World(9)
    return np.array([world.subject() for _ in range(texts)], np.float32)


@pytest.mark.parametrize("beside", [0, 3])
@pytest.mark.parametrize("equal", [False, True])
def test_one_dense_place_is_a_family_though_there_is_nothing_to_tell_it_from(beside: int, equal: bool) -> None:
    dense = np.repeat(one_place(1), 200, axis=0) if equal else one_place(200)
    vectors = np.vstack((dense, background(beside))) if beside else dense
    families = find_families(
        exact_graph(vectors, 30), np.ones(len(vectors), np.int64), min_samples=5, min_cluster_size=10
    )
    assert families.count == 1
    assert (families.label[:200] == 0).mean() > 0.9
    assert (families.label[200:] == -1).all()


def test_a_background_alone_is_not_taken_for_one_dense_place() -> None:
    vectors = background(300)
    families = find_families(exact_graph(vectors, 30), np.ones(300, np.int64), min_samples=5, min_cluster_size=100)
    assert families.count == 0


@pytest.mark.parametrize("min_cluster_size", [100, 180, 250, 500])
def test_copies_count_up_to_the_size_of_a_family(min_cluster_size: int) -> None:
    """Three wordings of one text, two hundred times each."""
    vectors = np.vstack((one_place(1).repeat(3, axis=0), background(60)))
    multiplicity = np.ones(63, np.int64)
    multiplicity[:3] = 200
    families = find_families(exact_graph(vectors, 30), multiplicity, min_samples=5, min_cluster_size=min_cluster_size)
    assert families.count == 1
    assert (families.label >= 0).tolist() == [True] * 3 + [False] * 60


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_family_without_an_edge_to_the_rest_leaves_the_others_what_they_are(seed: int) -> None:
    """All neighbours of a large tight family lie in itself: cut off from the rest, it must not make that one family."""
    tight = World(seed + 50)
    subject = tight.subject()
    apart = np.array([tight.subject(around=subject, spread=0.2) for _ in range(100)], np.float32)
    rest = planted(seed)
    vectors = np.vstack((rest, apart))
    graph = exact_graph(vectors, 15)
    graph.neighbours[: len(rest)][graph.neighbours[: len(rest)] >= len(rest)] = -1
    once = np.ones(len(vectors), np.int64)
    families = find_families(graph, once, min_samples=5, min_cluster_size=10)
    theirs = hdbscan.HDBSCAN(min_samples=5, min_cluster_size=10).fit_predict(vectors.astype(np.float64))
    assert families.count == 7
    members = np.r_[:240, len(rest) : len(vectors)]  # the rest is background, whose edge 15 neighbours tell less of
    assert adjusted_rand_score(families.label[members], theirs[members]) > 0.97
