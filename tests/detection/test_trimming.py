"""Nobody is dropped for what cannot be told apart."""

import numpy as np

from coterie.detection.trimming import _Sums


def test_of_equal_texts_nobody_is_a_misfit():
    vectors = np.tile(np.float32([0.6, 0.8, 0.0]), (20, 1))
    number = np.repeat(np.arange(4), 5)
    with np.errstate(all="raise"):
        misfit = _Sums(vectors, number, 4).misfit(np.ones(4, np.bool_))
    np.testing.assert_array_equal(misfit, 0.0)


def test_one_who_asks_of_something_else_is_a_misfit():
    draw = np.random.default_rng(0)
    subjects = np.repeat(np.eye(16)[[0, 1]], [60, 20], axis=0)
    vectors = subjects + 0.2 * draw.standard_normal((80, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    misfit = _Sums(vectors, np.repeat(np.arange(4), 20), 4).misfit(np.ones(4, np.bool_))
    assert misfit.argmax() == 3
    assert misfit[3] > 0.0
