"""Compiling ahead of the first run what it will need."""

import numpy as np

from coterie.index.candidates import PATIENCE
from coterie.index.codes import quantise
from coterie.index.graph import neighbour_graph, search_codes
from coterie.index.kernels import offer_to_found
from coterie.index.living import LivingGraph

_ROWS, _DIM, _K = 600, 16, 5


def warm_up() -> None:
    """Load or compile the inner loops of the graph, by running each on a few rows.

    Compiled code is kept on disk (beside the package, or in NUMBA_CACHE_DIR): half a second when it is there.
    """
    rows = np.random.default_rng(0).standard_normal((_ROWS, _DIM), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    neighbour_graph(np.concatenate((rows, rows[:1])), _K)
    search_codes(rows, _K, 0, lambda _: None, all_pairs=False)
    graph = LivingGraph(_DIM, _K, slack=1)
    graph.add(np.arange(_ROWS - 1), rows[:-1])
    graph.add(np.array([_ROWS]), rows[-1:])
    graph.remove(np.arange(_K))
    graph.graph(np.arange(_K, _ROWS - 1))
    codes, scale = quantise(rows[:0])
    lists, likeness = np.empty((0, _K), np.int32), np.empty((0, _K), np.float32)
    # What only graphs with cells need.
    offer_to_found(codes, scale, np.empty((0, _DIM), np.uint16), lists, 0, PATIENCE, lists, likeness, scale)
