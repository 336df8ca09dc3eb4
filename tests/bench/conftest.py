"""Makes `bench.cluster` importable (it is not shipped), and a small world to cluster."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.cluster.data import World, grow


@pytest.fixture
def real() -> np.ndarray:
    """float32[600, 24]: crowded in a few directions, as real text is."""
    draw = np.random.default_rng(7)
    rows = draw.standard_normal((600, 24)).astype(np.float32) * np.linspace(1.5, 0.3, 24, dtype=np.float32) + 0.2
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def world(real: np.ndarray) -> World:
    """1,000 rows."""
    return grow(real, 1_000, seed=1)
