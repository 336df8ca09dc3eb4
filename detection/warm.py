"""Compiling ahead of the first run what it will need."""

import numpy as np
from scipy import sparse

from coterie.detection.exchangeability import account_sums
from coterie.detection.families import find_families
from coterie.detection.items import Items, neighbours_inside, runs
from coterie.detection.kernels import numbered, sums_inside
from coterie.detection.languages import warm_up_languages
from coterie.detection.mixing import neighbour_mixing
from coterie.detection.overlap import Words, same_questions
from coterie.detection.trimming import trim
from coterie.domain import NeighbourGraph


def warm_up() -> None:
    """Load or compile what a run needs, on next to nothing: seconds, and a minute where it was never compiled."""
    warm_up_languages()
    _warm_up_graphs()
    _warm_up_tests()


def _warm_up_graphs() -> None:
    line = np.arange(40, dtype=np.int32)
    neighbours = np.column_stack((np.roll(line, 1), np.roll(line, -1)))
    graph = NeighbourGraph(neighbours, np.full(neighbours.shape, 0.9, np.float32))
    for method in ("eom", "leaf"):
        find_families(graph, np.ones(40, np.int64), min_samples=2, min_cluster_size=5, method=method)
    same_questions(graph, Words(["what is asked"] * 40), np.arange(40))


def _warm_up_tests() -> None:
    """A pool of three principals with five texts each, all neighbours."""
    principal, text = np.repeat(np.arange(3, dtype=np.int32), 5), np.arange(15, dtype=np.int32)
    near = sparse.csr_matrix(np.ones((15, 15)))
    items = Items(principal, text, np.eye(15, dtype=np.float32), near, 3)
    everything = np.arange(15)
    trim(items, everything)
    neighbour_mixing(items, everything)
    account_sums(items.vectors, runs(principal)[1], 3)
    neighbours_inside(near, text, numbered(text)[1])
    sums_inside(near.indptr, near.indices, near.data, everything, np.ones(15, np.bool_))
