"""LLVM's vectors against what they say in NumPy."""

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from coterie.index.kernels import product
from coterie.index.lanes import LANES, exceeding


@numba.njit
def masks(products: NDArray[Any], scale: NDArray[np.float32], enough: NDArray[np.float32]) -> NDArray[np.uint16]:
    found = np.zeros((len(products), len(scale) // LANES), np.uint16)
    for i in range(len(products)):
        for group in range(found.shape[1]):
            found[i, group] = exceeding(products, scale, i, group * LANES, enough[i])
    return found


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_what_exceeds_is_a_bit_for_each_column(dtype):
    rng = np.random.default_rng(0)
    # Few values, so that many are equal to what is enough; a block may be wider than what is looked at.
    products, scale = rng.integers(-3, 4, (50, 5 * LANES)), rng.integers(0, 3, 4 * LANES).astype(np.float32)
    enough = rng.integers(-4, 5, 50).astype(np.float32)
    enough[:3] = -np.inf, np.inf, 0.0
    expected = products[:, : len(scale)] * scale > enough[:, None]
    found = masks(products.astype(dtype), scale, enough)
    bits = (found[:, :, None] >> np.arange(LANES, dtype=np.uint16)) & 1
    np.testing.assert_array_equal(bits.reshape(expected.shape).astype(bool), expected)
    assert 0 < expected.mean() < 1


@pytest.mark.parametrize("dim", [1, 31, 32, 33, 384, 1_500])
def test_a_product_of_codes_is_whole_and_exact(dim):
    codes = np.random.default_rng(dim).integers(-127, 128, (7, dim)).astype(np.int8)
    codes[5], codes[6] = 127, -127
    expected = codes.astype(np.int64) @ codes.astype(np.int64).T
    found = [[product(codes, i, j) for j in range(7)] for i in range(7)]
    np.testing.assert_array_equal(found, expected)
