"""Parameter sets side by side, against scikit-learn's index."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from worlds import World

from coterie.detection import Parameters, compare_sets
from coterie.detection.comparison import adjusted_rand_index
from coterie.detection.families import find_families
from coterie.domain import CancelledRunError, ParameterSet


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("groups", "others"), [(1, 1), (1, 4), (3, 3), (40, 7), (300, 300)])
def test_the_index_is_scikit_learns(seed: int, groups: int, others: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(-1, groups, 300).astype(np.int32)
    second = np.where(rng.random(300) < 0.5, first, rng.integers(-1, others, 300)).astype(np.int32)
    assert adjusted_rand_index(first, second) == pytest.approx(adjusted_rand_score(first, second))
    assert adjusted_rand_index(first, first) == 1.0


@pytest.mark.parametrize("size", [0, 1, 2])
def test_the_index_of_next_to_nothing_is_full_agreement(size: int) -> None:
    alone = np.full(size, -1, np.int32)
    assert adjusted_rand_index(alone, alone) == 1.0


def test_sets_are_measured_on_one_graph_and_held_against_the_first() -> None:
    world = World(seed=4)
    world.people(12, texts=25)
    window = world.window(k=60)
    sets = [Parameters(), Parameters(), Parameters(min_samples=15, min_cluster_size=40)]
    measures = compare_sets(window, sets)
    labels = [
        find_families(
            window.raw.graph,
            np.ones(len(window.texts), np.int64),
            min_samples=item.min_samples,
            min_cluster_size=item.min_cluster_size,
        ).label
        for item in sets
    ]
    for number, label in enumerate(labels, start=1):
        assert measures[f"sets.{number}.families"] == label.max() + 1
        assert measures[f"sets.{number}.clustered"] == pytest.approx((label >= 0).mean())
    assert "sets.1.agreement" not in measures
    assert measures["sets.2.agreement"] == 1.0
    assert measures["sets.3.agreement"] == pytest.approx(adjusted_rand_score(labels[0], labels[2]))
    assert measures["sets.3.agreement"] < 1
    with pytest.raises(CancelledRunError):
        compare_sets(window, sets, cancelled=lambda: True)


def test_only_what_is_set_is_turned() -> None:
    assert Parameters().turned(ParameterSet()) == Parameters()
    assert Parameters().turned(ParameterSet(min_cluster_size=30)) == Parameters(min_cluster_size=30)
    assert Parameters().turned(ParameterSet(7, 30)) == Parameters(min_samples=7, min_cluster_size=30)
