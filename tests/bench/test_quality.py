"""The measures, on cases small enough to count by hand."""

import numpy as np
import pytest

from bench.cluster.data import BACKGROUND, REAL
from bench.cluster.quality import (
    agreement,
    graph_recall,
    growth_exponent,
    planted_quality,
    sample_of,
    true_similarities,
)

BAND = np.array([0, 2], np.int8)
PLANTED = np.array([0] * 4 + [1] * 4 + [BACKGROUND] * 4 + [REAL] * 2, np.int32)


def judged(*label):
    return planted_quality(np.array(label, np.int32), PLANTED, BAND)


def test_perfect_clusters():
    quality = judged(*[0] * 4, *[1] * 4, *[-1] * 6)
    assert quality["family_recall"] == {"all": 1.0, "loose": 1.0, "medium": None, "tight": 1.0}
    assert quality["members_clustered"] == {"all": 1.0, "loose": 1.0, "medium": None, "tight": 1.0}
    assert (quality["purity"], quality["background_clustered"], quality["real_clustered"]) == (1.0, 0.0, 0.0)


def test_nothing_clustered_finds_nothing_and_has_no_purity():
    quality = judged(*[-1] * 14)
    assert quality["family_recall"]["all"] == 0.0
    assert quality["members_clustered"]["all"] == 0.0
    assert quality["purity"] is None


def test_half_of_a_family_is_enough_and_less_is_not():
    assert judged(0, 0, -1, -1, *[-1] * 10)["family_recall"]["loose"] == 1.0
    assert judged(0, -1, -1, -1, *[-1] * 10)["family_recall"]["loose"] == 0.0
    # In two halves it is found once; in four quarters not at all.
    assert judged(0, 0, 1, 1, *[-1] * 10)["family_recall"]["loose"] == 1.0
    assert judged(0, 1, 2, 3, *[-1] * 10)["family_recall"]["loose"] == 0.0


def test_a_cluster_finds_only_a_family_that_is_half_of_its_planted_rows():
    assert judged(*[0] * 8, *[-1] * 6)["family_recall"]["all"] == 1.0  # just half each
    mixed = judged(0, 0, -1, -1, *[0] * 4, *[-1] * 6)
    assert (mixed["family_recall"]["loose"], mixed["family_recall"]["tight"]) == (0.0, 1.0)
    assert mixed["purity"] == pytest.approx(4 / 6, abs=1e-4)


def test_background_in_a_cluster_is_counted_apart():
    quality = judged(*[0] * 4, *[1] * 4, 0, 0, 5, -1, 5, -1)
    assert quality["family_recall"]["all"] == 1.0
    assert quality["purity"] == 1.0
    assert quality["background_clustered"] == 0.75
    assert quality["real_clustered"] == 0.5


def test_agreement_is_up_to_names():
    one = np.array([0, 0, 1, 1, -1, -1], np.int32)
    assert agreement(np.array([7, 7, 3, 3, -1, -1], np.int32), one) == 1.0
    assert agreement(np.array([0, 1, 0, 1, -1, 0], np.int32), one) < 0.3


def test_true_similarities_leave_out_the_row_itself(world):
    sample = np.array([3, 500])
    similarities = world.vectors @ world.vectors[sample].T
    similarities[sample, [0, 1]] = -2.0
    expected = -np.sort(-similarities, axis=0)[:15].T
    np.testing.assert_allclose(true_similarities(world.vectors, sample, 15), expected, atol=1e-5)


def test_graph_recall_counts_true_neighbours_by_kind(world):
    sample = sample_of(len(world.vectors), 0)
    assert len(sample) == 1_000
    nearest = true_similarities(world.vectors, sample, 15)
    likeness = world.vectors @ world.vectors.T
    np.fill_diagonal(likeness, -2.0)
    neighbours = np.argsort(-likeness, axis=1, kind="stable")[:, :20].astype(np.int32)
    exact = graph_recall(neighbours, sample, world.vectors, nearest, world.label)
    assert exact == {"all": 1.0, "real": 1.0, "family": 1.0, "background": 1.0}
    neighbours[world.label == BACKGROUND, 3:15] = -1
    neighbours[world.label == REAL, :15] = np.flatnonzero(world.label == REAL)[:, None]  # the row itself is none
    worse = graph_recall(neighbours, sample, world.vectors, nearest, world.label)
    assert (worse["real"], worse["family"], worse["background"]) == (0.0, 1.0, 0.2)


def test_growth_exponent_is_the_slope_of_the_logarithms():
    assert growth_exponent([1_000, 10_000, 100_000], [1.0, 100.0, 10_000.0]) == 2.0
    assert growth_exponent([1_000, 1_000], [1.0, 2.0]) is None
