"""Codes keep a cosine within what the search allows for, and their products are one wherever they are made."""

import numpy as np
import pytest

from coterie.index.codes import Products, padded_codes, padded_scale, quantise
from coterie.index.kernels import LANES


@pytest.mark.parametrize(("asking", "held"), [(1, 1), (17, 300), (300, 17), (130, 129)])
def test_products_in_single_precision_equal_those_in_eight_bits(unit, asking, held):
    codes, _ = quantise(unit(asking + held, 384))
    exact = codes[:asking].astype(np.int64) @ codes[asking:].astype(np.int64).T
    for int8 in (True, False):
        products = Products()
        products._int8 = int8
        block = products.block(padded_codes(codes[:asking]), padded_codes(codes[asking:]))
        assert block.shape[1] >= held + (-held % LANES)
        np.testing.assert_array_equal(block[:asking, :held], exact)


def test_a_cosine_of_codes_is_that_of_the_vectors_within_a_thousandth_or_two(unit):
    vectors = unit(200, 384)
    codes, scale = quantise(vectors)
    assert (np.abs(codes).max(axis=1) == 127).all()
    cosine = (codes.astype(np.float32) @ codes.astype(np.float32).T) * scale[:, None] * scale
    error = cosine - vectors @ vectors.T
    assert np.abs(error).max() < 0.005
    assert error.std() < 0.001


def test_a_scale_is_padded_with_what_no_list_takes():
    assert padded_scale(np.ones(LANES + 1, np.float32)).tolist() == [1.0] * (LANES + 1) + [0.0] * (LANES - 1)
