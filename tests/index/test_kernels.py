"""Compiled loops against what they say in NumPy."""

import numpy as np
import pytest

from coterie.index.codes import quantise
from coterie.index.kernels import decode, inner_product, promises, reversed_lists, row_hashes


def test_every_half_is_decoded_as_numpy_does():
    bits = np.arange(2**16, dtype=np.uint16)
    bits = bits[np.isfinite(bits.view(np.float16))]
    words = np.empty(len(bits), np.uint32)
    decode(bits[None], 0, words)
    expected = bits.view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(words, expected.view(np.uint32))
    assert (expected[expected != 0] != 0).all()


def test_a_row_is_decoded_from_its_place(unit):
    vectors = unit(5, 24).astype(np.float16)
    words = np.empty((2, 24), np.uint32)
    for at, row in enumerate((4, 1)):
        decode(vectors.view(np.uint16), row, words[at])
    np.testing.assert_array_equal(words.view(np.float32), vectors[[4, 1]].astype(np.float32))
    product = inner_product(words[0].view(np.float32), words[1].view(np.float32))
    np.testing.assert_allclose(product, vectors[4].astype(float) @ vectors[1].astype(float), atol=1e-6)


def test_lists_turned_round_name_those_first_that_name_a_row_first():
    lists = np.array([[1, 2], [2, -1], [1, 0], [1, 2]], np.int32)
    expected = [[2, -1], [0, 2], [1, 0], [-1, -1]]
    assert reversed_lists(lists, 2).tolist() == expected


def test_hashes_are_equal_for_equal_rows_alone(unit):
    words = np.vstack([unit(3_000), unit(3_000)]).view(np.uint32)
    hashes = row_hashes(words)
    np.testing.assert_array_equal(hashes[:3_000], hashes[3_000:])
    assert len(np.unique(hashes)) == 3_000
    swapped = words[:1, ::-1].copy()
    assert row_hashes(swapped)[0] != hashes[0]


@pytest.mark.parametrize("dim", [1, 2, 12, 384])
def test_rounding_to_codes_hides_no_nearer_row(dim):
    """Codes are at their coarsest where few axes carry all."""
    rows = np.random.default_rng(dim).normal(size=(100, dim)) * np.where(np.arange(dim) < 4, 1.0, 0.01)
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    codes, scale = quantise(vectors)
    products, true = codes.astype(np.int32) @ codes.astype(np.int32).T, vectors @ vectors.T
    for i in range(100):
        for j in range(100):
            assert promises(products[i, j], scale[i], scale[j], np.float32(true[i, j]))
    assert not promises(products[0, 0], scale[0], scale[0], np.float32(1.1)), "what is plainly further is left out"
