"""Codes keep a cosine within what the search allows for, and their products are one wherever they are made."""

import numpy as np
import pytest
import torch

from coterie.index.codes import COLUMNS_STEP, ROWS_STEP, Products, quantise, rounded_block, wide


@pytest.mark.parametrize(("asking", "held"), [(1, 1), (17, 300), (300, 17), (130, 129)])
def test_products_in_single_precision_equal_those_in_eight_bits(unit, asking, held):
    codes, _ = quantise(unit(asking + held, 384))
    exact = codes[:asking].astype(np.int64) @ codes[asking:].astype(np.int64).T
    for int8 in (True, False):
        products = Products()
        products._int8 = int8
        block = products.block(codes[:asking], codes[asking:])
        np.testing.assert_array_equal(block[:asking, :held], exact)


def test_a_cosine_of_codes_is_that_of_the_vectors_within_a_thousandth_or_two(unit):
    vectors = unit(200, 384)
    codes, scale = quantise(vectors)
    assert (np.abs(codes).max(axis=1) == 127).all()
    cosine = (codes.astype(np.float32) @ codes.astype(np.float32).T) * scale[:, None] * scale
    error = cosine - vectors @ vectors.T
    assert np.abs(error).max() < 0.005
    assert error.std() < 0.001


@pytest.mark.parametrize(("asking", "held"), [(1, 1), (17, 300), (130, 129)])
def test_rounded_products_are_cosines_as_near_as_their_bits_allow(unit, asking, held):
    codes, scale = quantise(unit(asking + held, 384))
    left, right = np.arange(asking, dtype=np.int32), np.arange(asking, asking + held, dtype=np.int32)
    ask = wide(codes, left, np.ones(asking, np.float32), ROWS_STEP)
    hold = wide(codes, right, scale[right], COLUMNS_STEP)
    np.testing.assert_array_equal(ask[:asking].float().numpy(), codes[left])
    block = torch.from_numpy(rounded_block(ask, hold)).view(torch.bfloat16).float().numpy()[:asking, :held]
    exact = (codes[left].astype(np.int64) @ codes[right].astype(np.int64).T) * scale[right]
    # Half a step in 256 for the result, and for every factor on the held side; cosines, by the asking row's scale, are
    # sums of products whose absolute values sum up to 1 at most.
    np.testing.assert_allclose(block, exact, rtol=2.0**-8, atol=2.0**-9 / scale[left].min())
