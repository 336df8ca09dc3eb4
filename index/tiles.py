"""Many coded rows beside many, a tile at a time: a core's products are looked at before they leave its own cache.

The rows that ask are shared out among the cores, so that each core writes what belongs to its rows alone, and the
result does not depend on how many there are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coterie.index.codes import Products, padded_codes, padded_scale
from coterie.index.kernels import take_above, take_best
from coterie.index.workers import share

_TILE_ROWS = 384
"""Rows compared with as many at once: half a mebibyte of products."""

Codes = NDArray[np.int8]
Numbers = NDArray[np.int32]
Scale = NDArray[np.float32]


class Tile:
    """Rows to compare with: int32[h], and their codes and scale, padded."""

    def __init__(self, rows: Numbers, codes: Codes, scale: Scale) -> None:
        self.rows = rows
        self.codes = padded_codes(codes)
        self.scale = padded_scale(scale)


def tiles_of(rows: Numbers, codes: Codes, scale: Scale) -> list[Tile]:
    """Tiles of some of the rows that have these codes."""
    return [Tile(some, codes[some], scale[some]) for some in in_tiles(rows)]


def in_tiles(rows: NDArray[Any]) -> list[NDArray[Any]]:
    """Rows in as few parts, all of about one size, as tiles hold."""
    return np.array_split(rows, max(1, -(-len(rows) // _TILE_ROWS)))


def offer_tiles(
    codes: Codes, asking: Numbers, at: Numbers, tiles: Sequence[Tile], rows: Numbers, likeness: Scale, *, own: Numbers
) -> None:
    """Offer every row of the tiles to the list of every row that asks.

    Args:
        codes: int8[n, dim].
        asking: int32[q], which of them ask, and `at`, int32[q], where their lists lie.
        rows, likeness: int32[l, k], float32[l, k], lists of nearest rows, best first.
        own: int32[q], the row that must not enter the list: the asking one itself.
    """
    share(_offer_part, len(asking), (codes, asking, at, own, tiles), (rows, likeness))


def _offer_part(
    codes: Codes,
    asking: Numbers,
    at: Numbers,
    own: Numbers,
    tiles: Sequence[Tile],
    low: int,
    high: int,
    rows: Numbers,
    likeness: Scale,
) -> None:
    products = Products()
    for some in in_tiles(np.arange(low, high)):
        asking_codes, some_own, some_at = padded_codes(codes[asking[some]]), own[some], at[some]
        for tile in tiles:
            block = products.block(asking_codes, tile.codes)
            take_best(block, tile.rows, tile.scale, some_own, some_at, rows, likeness)


def pairs_above(
    codes: Codes, enough: Scale, tiles: Sequence[Tile], left_out: Numbers | None
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Pairs of a coded row and a row of the tiles that are alike enough: int32[p] each, the latter rising.

    Args:
        codes: int8[q, dim].
        enough: float32[q], what the product of the codes, times the tile's scale, must exceed.
        left_out: int32[q, l], rows of the tiles that do not count, if any.
    """
    left_out = np.empty((len(codes), 0), np.int32) if left_out is None else left_out
    found: dict[int, list[NDArray[np.int32]]] = {}
    share(_pairs_part, len(codes), (codes, enough, tiles, left_out), (found,))
    written = [some for low in sorted(found) for some in found[low]]
    pairs = np.concatenate([np.empty((2, 0), np.int32), *written], axis=1)
    narrow = np.min_scalar_type(int(pairs[1].max(initial=0)))  # NumPy counts small numbers in place of comparing them
    order = np.argsort(pairs[1].astype(narrow), kind="stable")
    return pairs[0, order], pairs[1, order]


def _pairs_part(
    codes: Codes,
    enough: Scale,
    tiles: Sequence[Tile],
    left_out: Numbers,
    low: int,
    high: int,
    found: dict[int, list[NDArray[np.int32]]],
) -> None:
    products = Products()
    pairs = np.empty((2, _TILE_ROWS * _TILE_ROWS), np.int32)
    own = found[low] = []
    for some in in_tiles(np.arange(low, high, dtype=np.int32)):
        some_codes, some_enough, some_out = padded_codes(codes[some]), enough[some], left_out[some]
        for tile in tiles:
            block = products.block(some_codes, tile.codes)
            count = take_above(block, tile.rows, tile.scale, some, some_enough, some_out, pairs)
            own.append(pairs[:, :count].copy())
