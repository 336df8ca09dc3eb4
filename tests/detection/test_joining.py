"""Between runs: new texts against a run's families."""

import numpy as np
import pytest
from worlds import World, exact_graph

from coterie.detection import join_families
from coterie.detection.families import find_families
from coterie.detection.family_record import gate_distances

INF = np.float32(np.inf)


def cosine(distance: float) -> float:
    return 1 - distance**2 / 2


def join(
    distances: list[float],
    family: list[int],
    core: list[float],
    gate: list[float],
    *,
    exchanges: list[int] | None = None,
    min_samples: int = 2,
) -> tuple[int, float]:
    joined, distance = join_families(
        np.array([[cosine(value) for value in distances]], np.float32),
        np.array([exchanges or [1] * len(distances)]),
        np.array([family], np.int32),
        np.array([core], np.float32),
        np.array(gate, np.float32),
        min_samples,
    )
    return int(joined[0]), float(distance[0])


def test_the_least_mutual_reachability_decides_not_the_nearest() -> None:
    # The nearest lies in a thin place: its own core distance is what counts.
    assert join([0.5, 0.6], [0, 1], [0.9, 0.4], [2.0, 2.0]) == (1, pytest.approx(0.6, abs=1e-3))


def test_equals_go_to_the_nearer() -> None:
    """Where its own core distance decides, many neighbours are equal."""
    assert join([0.5, 0.6, 0.7], [1, 0, 0], [0.4, 0.4, 0.4], [2.0, 2.0], min_samples=3) == (1, pytest.approx(0.7, 1e-3))


def test_the_gate_is_the_familys_own() -> None:
    assert join([0.5, 0.6], [0, 0], [0.3, 0.3], [0.59, 2.0])[0] == -1
    assert join([0.5, 0.6], [0, 0], [0.3, 0.3], [0.61, 2.0])[0] == 0
    assert join([0.5, 0.6], [1, 1], [0.3, 0.3], [0.59, 2.0])[0] == 1


def test_copies_count_and_noise_counts_as_company_but_is_no_family() -> None:
    assert join([0.5, 1.0], [0, 0], [0.3, 0.3], [0.6], exchanges=[2, 1])[0] == 0
    assert join([0.4, 0.5], [-1, 0], [0.3, 0.3], [0.6])[0] == 0
    assert join([0.4, 0.5], [-1, -1], [0.3, 0.3], [0.6]) == (-1, np.inf)


def test_too_little_company_joins_nothing() -> None:
    assert join([0.3], [0], [0.3], [2.0], exchanges=[1]) == (-1, np.inf)
    assert join([-0.0, 0.3], [0, 0], [0.2, 0.2], [2.0], exchanges=[0, 1]) == (-1, np.inf)


def test_a_near_copy_joins_a_family_of_copies_whose_gate_is_the_floor() -> None:
    assert join([0.01], [0], [0.2], [0.2], exchanges=[50])[0] == 0


@pytest.mark.parametrize(("q", "k", "f"), [(0, 5, 2), (3, 0, 2), (3, 5, 0)])
def test_nothing_to_join_is_no_error(q: int, k: int, f: int) -> None:
    joined, distance = join_families(
        np.zeros((q, k), np.float32),
        np.ones((q, k), np.int64),
        np.full((q, k), -1, np.int32),
        np.ones((q, k), np.float32),
        np.ones(f, np.float32),
        5,
    )
    assert joined.tolist() == [-1] * q
    assert distance.tolist() == [np.inf] * q


def test_gates_are_the_nearest_rank_and_a_family_without_distances_takes_nobody() -> None:
    label = np.array([0] * 100 + [1] * 3 + [-1] + [2], np.int32)
    core = np.array([*np.arange(100) / 100, 0.5, 0.3, np.inf, 9.0, np.inf], np.float32)
    assert gate_distances(label, core, 3).tolist() == pytest.approx([0.97, 0.5, 0.0])
    assert join([0.3, 0.3], [2, 2], [0.2, 0.2], gate_distances(label, core, 3).tolist())[0] == -1


@pytest.mark.parametrize("seed", range(3))
def test_held_out_members_are_found_and_background_stays_out(seed: int) -> None:
    world = World(seed)
    subjects = [world.subject() for _ in range(8)]

    def drawn(each: int, background: int) -> tuple[np.ndarray, np.ndarray]:
        members = [world.subject(around=subject, spread=0.8) for subject in subjects for _ in range(each)]
        noise = [world.subject() for _ in range(background)]
        return np.array(members + noise, np.float32), np.repeat(np.arange(9), [each] * 8 + [background])

    vectors, _ = drawn(40, 300)
    new, truth = drawn(10, 200)
    families = find_families(
        exact_graph(vectors, 30), np.ones(len(vectors), np.int64), min_samples=5, min_cluster_size=10
    )
    similarity = new @ np.concatenate((vectors, new)).T
    similarity[np.arange(len(new)), len(vectors) + np.arange(len(new))] = -1
    order = np.argsort(-similarity, axis=1)[:, :30]
    old = order < len(vectors)
    place = np.where(old, order, 0)
    joined, _ = join_families(
        np.take_along_axis(similarity, order, 1).astype(np.float32),
        np.ones(order.shape, np.int64),
        np.where(old, families.label[place], -1).astype(np.int32),
        families.core_distance[place],
        gate_distances(families.label, families.core_distance, families.count),
        5,
    )
    home = [np.bincount(families.label[40 * n : 40 * n + 40] + 1).argmax() - 1 for n in range(8)]
    member = truth < 8
    assert np.mean(joined[member] == np.array(home)[truth[member]]) > 0.85
    assert np.mean(joined[~member] >= 0) < 0.2
