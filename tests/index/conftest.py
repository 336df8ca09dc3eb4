"""Vectors to index."""

from collections.abc import Callable

import numpy as np
import pytest

MakeVectors = Callable[..., np.ndarray]


@pytest.fixture
def unit() -> MakeVectors:
    """Random unit rows; with `centres`, in that many tight families."""

    def make(n: int, dim: int = 16, *, seed: int = 0, centres: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        rows = random.normal(size=(n, dim))
        if centres:
            rows = random.normal(size=(centres, dim))[random.integers(0, centres, n)] + 0.3 * rows
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return make
