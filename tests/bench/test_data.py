"""The generator keeps what it promises: shares, likeness within families, and the same world for a seed."""

import numpy as np

from bench.cluster.data import BACKGROUND, BANDS, REAL, grow


def test_shares_and_unit_rows(world):
    assert world.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(world.vectors, axis=1), 1.0, atol=1e-5)
    assert (world.label == REAL).sum() == 400
    assert 300 <= (world.label >= 0).sum() <= 312
    assert (world.label == BACKGROUND).sum() == 1_000 - 400 - (world.label >= 0).sum()
    assert np.bincount(world.label[world.label >= 0]).min() >= 12
    assert len(world.band) == world.label.max() + 1


def test_two_members_of_a_family_lie_within_its_band(real):
    world = grow(real, 20_000, seed=3)
    seen = set()
    for family, band in enumerate(world.band):
        members = world.vectors[world.label == family]
        if len(members) < 60:  # the mean of a few is noisy
            continue
        likeness = members @ members.T
        mean = likeness[np.triu_indices(len(members), 1)].mean()
        low, high = list(BANDS.values())[band]
        assert low - 0.05 < mean < high + 0.05
        seen.add(int(band))
    assert seen == {0, 1, 2}


def test_one_seed_one_world(real):
    one, same, other = grow(real, 300, seed=1), grow(real, 300, seed=1), grow(real, 300, seed=2)
    np.testing.assert_array_equal(one.vectors, same.vectors)
    np.testing.assert_array_equal(one.label, same.label)
    assert not np.array_equal(one.vectors, other.vectors)
