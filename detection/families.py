"""Step 1: families, the density clusters of prompts (HDBSCAN on the neighbour graph).

Distances are Euclidean between unit vectors, d = sqrt(2 - 2 cos). Campello, Moulavi, Sander 2013; the tree is cut by
`fast_hdbscan`, whose labels equal hdbscan's.
"""

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from coterie.domain import NeighbourGraph

DISTANCE_FLOOR = 0.2
"""Edges shorter than this (cosine .98) count as this long: near-zero distances let the cut split a campaign around
its verbatim core."""

COPIES_MAX = 64
"""Copies of one text that enter the tree, or as many as make a family where that is more: further ones would change no
label and make one hello a million nodes."""

ONLY_DISTANCE_MAX = 0.85
"""Where there is one dense place and no other, the tree has nothing to tell it from, and it reaches as far as this
(cosine .64): so near lie members of loose families, and not the neighbours in a background without structure."""


_UNRELATED_DISTANCE = 1.0
"""Least distance (cosine .5) that parts of the graph without an edge between them are taken to have."""


@dataclass(frozen=True, slots=True)
class Families:
    """The families of a view.

    Attributes:
        label: int32[m], family number of each distinct text, -1 for noise. Numbered by first member.
        strength: float32[m], membership strength, 0 to 1.
        core_distance: float32[m], distance within which `min_samples` exchanges lie.
    """

    label: NDArray[np.int32]
    strength: NDArray[np.float32]
    core_distance: NDArray[np.float32]

    @property
    def count(self) -> int:
        """Number of families."""
        return int(self.label.max(initial=-1)) + 1


def find_families(
    graph: NeighbourGraph,
    multiplicity: NDArray[np.int64],
    *,
    min_samples: int,
    min_cluster_size: int,
    method: str = "eom",
) -> Families:
    """Cluster distinct texts, each standing for as many exchanges as its multiplicity.

    Duplicates are expanded in the tree, not weighted and not collapsed: both of those lose groups of verbatim repeats.
    Cost: O(m k log(m k)) for m texts.

    Args:
        graph: neighbours of the m distinct texts.
        multiplicity: int64[m], exchanges of each text, at least 1.
        min_samples: exchanges that make a place dense.
        min_cluster_size: exchanges that make a family.
        method: `eom` for families at their most stable level, `leaf` for the finest.
    """
    m = graph.size
    if m == 0:
        return Families(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32))
    distance = np.sqrt(np.maximum(2.0 - 2.0 * graph.similarities.astype(np.float64), 0.0))
    core = core_distances(graph, distance, multiplicity, min_samples)
    tree = _spanning_tree(graph, distance, core)
    copies = np.minimum(multiplicity, max(COPIES_MAX, min_cluster_size)) - 1
    edges = np.vstack((tree, _copy_edges(copies, core)))
    label, strength = np.full(m, -1, np.int64), np.zeros(m)
    if len(edges) + 1 >= max(2, min_cluster_size):
        every, strengths, *_ = _tree_cut()(edges, min_cluster_size=min_cluster_size, cluster_selection_method=method)
        label, strength = every[:m].astype(np.int64), np.asarray(strengths[:m])
        if label.max(initial=-1) < 0:
            only = _only_family(tree, multiplicity, min_cluster_size)
            label[only], strength[only] = 0, 1.0
    # A tree cut never selects its root, so one repeated text with nothing else dense beside it would be noise.
    alone = np.flatnonzero((label < 0) & (multiplicity >= min_cluster_size))
    label[alone] = label.max(initial=-1) + 1 + np.arange(len(alone))
    strength[alone] = 1.0
    return Families(_renumbered(label), strength.astype(np.float32), core.astype(np.float32))


def _only_family(
    tree: NDArray[np.float64], multiplicity: NDArray[np.int64], min_cluster_size: int
) -> NDArray[np.int64]:
    """The texts of the one dense place of a tree in which the cut found none to select; empty where there is none.

    A cut selects what has split from something else. Two places dense enough would have split, so there is at most one.
    """
    m = len(multiplicity)
    near = tree[tree[:, 2] <= ONLY_DISTANCE_MAX]
    ends = near[:, :2].astype(np.int64)
    joined = csr_matrix((np.ones(len(near)), (ends[:, 0], ends[:, 1])), shape=(m, m))
    _, place = connected_components(joined, directed=False)
    size = np.bincount(place, weights=multiplicity)
    return np.flatnonzero((place == size.argmax()) & (size.max() >= min_cluster_size))


@lru_cache(maxsize=1)
def _tree_cut() -> Callable[..., tuple[Any, ...]]:
    """`fast_hdbscan.hdbscan.clusters_from_spanning_tree`, imported in a thread of its own.

    Its import starts numba's OpenMP pool, which switches nested parallelism on for the calling thread; torch in that
    thread would then start a team inside every team (embedding fell from 220 texts/s to 7).
    """
    thread = threading.Thread(target=importlib.import_module, args=("fast_hdbscan.hdbscan",))
    thread.start()
    thread.join()
    cut: Callable[..., tuple[Any, ...]] = importlib.import_module("fast_hdbscan.hdbscan").clusters_from_spanning_tree
    return cut


def core_distances(
    graph: NeighbourGraph, distance: NDArray[np.float64], multiplicity: NDArray[np.int64], min_samples: int
) -> NDArray[np.float64]:
    """float64[m]: radius within which `min_samples` other exchanges lie, own copies first; inf where none reaches."""
    others = np.where(graph.neighbours >= 0, multiplicity[graph.neighbours], 0)
    reached = np.cumsum(others, axis=1) + (multiplicity - 1)[:, None]
    enough = reached >= min_samples
    core = np.full(graph.size, np.inf)
    found = np.flatnonzero(enough.any(axis=1))
    if len(found):
        core[found] = distance[found, np.argmax(enough[found], axis=1)]
    return np.maximum(np.where(multiplicity - 1 >= min_samples, 0.0, core), DISTANCE_FLOOR)


def _spanning_tree(
    graph: NeighbourGraph, distance: NDArray[np.float64], core: NDArray[np.float64]
) -> NDArray[np.float64]:
    """float64[m - 1, 3]: minimum spanning tree of mutual reachability; parts are joined beyond its longest edge."""
    m = graph.size
    starts, targets, weights = _edges(graph.neighbours, distance, core)
    forest = minimum_spanning_tree(csr_matrix((weights, targets, starts), shape=(m, m))).tocoo()
    edges = np.column_stack((forest.row, forest.col, forest.data)).astype(np.float64)
    _, component = connected_components(forest, directed=False)
    _, roots = np.unique(component, return_index=True)
    # As far apart as the farthest neighbours, and not infinitely far: what splits off at infinity is stable beyond all
    # measure, and a family whose neighbours all lie in itself would make one family of everything else.
    apart = max(_UNRELATED_DISTANCE, 1.001 * edges[:, 2].max(initial=0.0))
    bridges = np.column_stack((roots[:-1], roots[1:], np.full(len(roots) - 1, apart))).astype(np.float64)
    return np.vstack((edges, bridges))


def _edges(
    neighbours: NDArray[np.int32], distance: NDArray[np.float64], core: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """The finite mutual reachability distances of a graph's edges, each pair once, as the arrays of a CSR matrix.

    Both directions of an edge have one weight; given twice they would be summed.
    """
    kept = np.empty(neighbours.shape, np.bool_)
    _keep_each_pair_once(neighbours, kept)
    kept &= np.isfinite(core)[:, None]
    source, slot = np.nonzero(kept)
    target = neighbours[source, slot]
    weight = np.maximum(distance[source, slot], np.maximum(core[source], core[target]))
    finite = np.isfinite(weight)
    starts = np.zeros(len(neighbours) + 1, np.int32)
    np.cumsum(np.bincount(source[finite], minlength=len(neighbours)), out=starts[1:])
    return starts, target[finite], weight[finite]


@numba.njit(nogil=True, cache=True)
def _keep_each_pair_once(neighbours: NDArray[np.int32], kept: NDArray[np.bool_]) -> None:
    """Of two rows that name each other the lower one keeps the edge; sorting all pairs took most of a run's tree."""
    m, k = neighbours.shape
    for i in range(m):
        for slot in range(k):
            j = neighbours[i, slot]
            keep = j >= 0
            if 0 <= j < i:
                for back in range(k):
                    keep &= neighbours[j, back] != i
            kept[i, slot] = keep


def _copy_edges(copies: NDArray[np.int64], core: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[sum(copies), 3]: every further copy of a text hangs on it at its core distance."""
    m = len(copies)
    origin = np.repeat(np.arange(m), copies)
    return np.column_stack((origin, m + np.arange(len(origin)), core[origin])).astype(np.float64)


def _renumbered(label: NDArray[np.int64]) -> NDArray[np.int32]:
    """Families numbered by their first member, without gaps: equal input gives equal numbers."""
    present, first = np.unique(label[label >= 0], return_index=True)
    order = np.argsort(np.flatnonzero(label >= 0)[first])
    number = np.full(int(label.max(initial=-1)) + 2, -1, np.int32)
    number[present[order]] = np.arange(len(present), dtype=np.int32)
    return number[label]
