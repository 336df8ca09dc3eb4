"""Neighbour mixing: a closed case by hand, its level at chance, and its power against trains of thought."""

import numpy as np
import pytest
from scipy import stats
from worlds import World

from coterie.detection.items import Items, make_items
from coterie.detection.mixing import neighbour_mixing


def pool(seed: int, accounts: int, each: int, *, own: float) -> Items:
    """Items of accounts around one subject, each with a subject of its own at distance `own` from it."""
    world = World(seed)
    common = world.subject()
    for number in range(accounts):
        subject = world.subject(around=common, spread=own) if own else common
        world.ask(f"account-{number:02d}", [world.text(subject, spread=1.2) for _ in range(each)])
    window = world.window()
    return make_items(window.raw, window.rows.account, accounts)


def test_counts_equal_counting_by_hand() -> None:
    items = pool(0, 4, 6, own=0.5)
    chosen = np.arange(items.size)
    near = items.adjacency.toarray()[items.text][:, items.text] > 0
    same = items.principal[:, None] == items.principal[None, :]
    mixing = neighbour_mixing(items, chosen)
    assert mixing is not None
    assert mixing.pairs == near.sum()
    assert mixing.ratio == pytest.approx((near & same).sum() / (near.sum() * 5 / 23))


def test_dealt_slices_mix_as_chance_has_it_and_the_error_covers_it() -> None:
    z = []
    for seed in range(60):
        mixing = neighbour_mixing(pool(seed, 8, 20, own=0.0), np.arange(160))
        assert mixing is not None
        z.append((mixing.ratio - 1.0) / mixing.error)
    assert abs(np.mean(z)) < 0.6
    assert np.mean(np.abs(z) > stats.norm.isf(0.025)) <= 0.1


def test_trains_of_thought_do_not_mix() -> None:
    mixing = neighbour_mixing(pool(1, 8, 20, own=0.7), np.arange(160))
    assert mixing is not None
    assert mixing.ratio - 3 * mixing.error > 1.3


def test_a_pool_without_neighbours_says_nothing() -> None:
    items = pool(2, 3, 4, own=0.0)
    assert neighbour_mixing(items, np.array([0], np.int64)) is None
