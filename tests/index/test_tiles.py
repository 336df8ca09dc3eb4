"""Tiles find what a whole matrix of products holds, and each core multiplies alone."""

import numpy as np
import pytest
import torch

from coterie.index import tiles as tiles_module
from coterie.index import workers
from coterie.index.codes import quantise
from coterie.index.tiles import in_tiles, offer_tiles, pairs_above, tiles_of


@pytest.fixture(params=[7, 384])
def coded(unit, monkeypatch, request):
    """Codes and scale of 300 rows, in tiles of few rows and of many."""
    monkeypatch.setattr(tiles_module, "_TILE_ROWS", request.param)
    return quantise(unit(300, 32))


def likeness_of(codes, scale):
    return (codes.astype(np.int32) @ codes.astype(np.int32).T).astype(np.float32) * scale


def test_offering_fills_the_lists_with_the_best_of_all_tiles(coded):
    codes, scale = coded
    held = np.arange(100, 300, dtype=np.int32)
    asking = np.arange(0, 200, dtype=np.int32)
    at = asking[::-1].copy()
    rows, likeness = np.full((200, 5), -1, np.int32), np.full((200, 5), -np.inf, np.float32)
    offer_tiles(codes, asking, at, tiles_of(held, codes, scale), rows, likeness, own=asking)
    whole = likeness_of(codes, scale)
    np.fill_diagonal(whole, -np.inf)
    np.testing.assert_allclose(likeness[at], -np.sort(-whole[:200, 100:], axis=1)[:, :5], rtol=1e-6)
    assert (rows[at] != asking[:, None]).all()


def test_pairs_above_are_all_pairs_above_in_order_of_the_held_row(coded):
    codes, scale = coded
    held = np.arange(40, dtype=np.int32)
    enough = np.linspace(-5.0, 40.0, 300).astype(np.float32)
    left_out = np.stack([np.arange(300) % 40, np.arange(300) % 7], axis=1).astype(np.int32)
    asking, found = pairs_above(codes, enough, tiles_of(held, codes, scale), left_out)
    above = likeness_of(codes, scale)[:, :40] > enough[:, None]
    above[np.arange(300)[:, None], left_out] = False
    expected = np.argwhere(above.T)
    np.testing.assert_array_equal(np.stack([found, asking], axis=1), expected)
    assert 100 < len(expected) < 300 * 40


def test_no_pair_is_no_pair(coded):
    codes, scale = coded
    asking, found = pairs_above(
        codes, np.full(300, np.inf, np.float32), tiles_of(np.arange(9, dtype=np.int32), codes, scale), None
    )
    assert asking.shape == found.shape == (0,)


@pytest.mark.parametrize("count", [0, 1, 384, 385, 1_000])
def test_tiles_hold_every_row_once_and_are_of_one_size(count):
    parts = in_tiles(np.arange(count))
    assert np.concatenate(parts).tolist() == list(range(count))
    sizes = [len(part) for part in parts]
    assert max(sizes) <= 384
    assert max(sizes) - min(sizes) <= 1


def test_each_part_of_shared_work_multiplies_on_one_core_and_the_caller_keeps_its_own():
    before = torch.get_num_threads()
    seen: list[int] = []
    workers.share(lambda low, high: seen.append(torch.get_num_threads()), 1_000, (), ())
    assert set(seen) == {1}
    assert torch.get_num_threads() == before
