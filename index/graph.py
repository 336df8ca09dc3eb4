"""The k-nearest-neighbour graph of a set of unit vectors.

Small sets are compared pair by pair in eight bits; larger ones by cells, each of which is one matrix product for all
the rows that read it, and by joining the neighbours of neighbours. What is found is scored by the vectors themselves.
Where a GPU is at hand the graph is exact. (`faiss.contrib.big_batch_search` searches list by list too; it prints to
stdout at every verbosity and can be neither cancelled nor followed.)
"""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray

from coterie.domain import CancelledRunError, InvalidError, NeighbourGraph
from coterie.index.candidates import MARGIN, Candidates
from coterie.index.cells import make_cells
from coterie.index.checks import checked_vectors
from coterie.index.codes import quantise
from coterie.index.engine import BulkSearch
from coterie.index.gpu import exact_lists, fits, gpu_device
from coterie.index.kernels import expand_groups, row_hashes, score_exactly
from coterie.index.ticks import part_of
from coterie.index.workers import share

K_MAX = 1_000
ALL_PAIRS_ROWS_MAX = 20_000
_ROWS_AT_ONCE = 8_192

Progress = Callable[[float], None]
"""Called with the finished share, 0 to 1."""

Cancelled = Callable[[], bool]
_Neighbours = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Rows int64[n, k] with -1 padding, similarities float32[n, k]; nearest first, ties by row."""


def neighbour_graph(
    vectors: NDArray[np.float32],
    k: int = 30,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> NeighbourGraph:
    """Find the k nearest neighbours of every row by inner product, without the row itself.

    Equal vectors are each other's first neighbours. Equal similarities are ordered by row number; which of several
    equally far vectors takes the last place is not laid down. The same input and seed give the same graph on the same
    machine.

    Args:
        vectors: float32[n, dim], unit rows.
        k: neighbours a row, 1 to 1,000; rows that have fewer are padded.
        seed: of the training of the cells, used above 20,000 distinct rows where no GPU searches them.
        progress: called with the finished share, 0 to 1.
        cancelled: asked between blocks.

    Raises:
        InvalidError: wrong shape, a value that is not finite, a row that is not of length 1, or k out of range.
        CancelledRunError: `cancelled` answered True.
    """
    if not 1 <= k <= K_MAX:
        raise InvalidError(f"k is {k}, use 1 to {K_MAX}", field="k")
    rows = checked_vectors(vectors)
    tick = _ticker(progress, cancelled)
    group = _group_equal_rows(rows)
    _, first = np.unique(group, return_index=True)
    distinct = rows if len(first) == len(rows) else rows[first]
    neighbours, similarities = _search_distinct(distinct, k, seed, tick)
    if len(first) < len(rows):
        neighbours, similarities = _expand(neighbours, similarities, group, k)
    tick(1.0)
    return NeighbourGraph(
        neighbours=neighbours.astype(np.int32),
        similarities=np.where(neighbours < 0, np.float32(-1.0), similarities.clip(-1.0, 1.0)),
    )


def graph_recall(graph: NeighbourGraph, vectors: NDArray[np.float32], *, sample: int = 500, seed: int = 0) -> float:
    """The share of the true k nearest neighbours that a graph holds, by exact search for a sample of its rows.

    A neighbour as near as the k-th true one counts, whichever of several equals it is. 1.0 where there is nothing to
    find.

    Raises:
        InvalidError: the graph and the vectors are not of one size, or the sample is not positive.
    """
    rows = checked_vectors(vectors)
    if graph.size != len(rows) or sample < 1:
        raise InvalidError(f"graph has {graph.size} rows, vectors {len(rows)}, sample is {sample}", field="sample")
    findable = min(graph.k, len(rows) - 1)
    if findable < 1:
        return 1.0
    queries = np.sort(np.random.default_rng(seed).permutation(len(rows))[:sample])
    bulk = BulkSearch()
    similarities, found = bulk.nearest(rows[queries], rows, findable + 1)
    _, similarities = _without_self(found, similarities, queries)
    hits = 0
    for query, similarity_min in zip(queries, similarities[:, findable - 1] - 1e-5, strict=True):
        held = np.setdiff1d(graph.neighbours[query], [-1, query])
        hits += min(findable, int((rows[held] @ rows[query] >= similarity_min).sum()))
    return hits / (findable * len(queries))


def _ticker(progress: Progress | None, cancelled: Cancelled | None) -> Progress:
    def tick(share: float) -> None:
        if cancelled is not None and cancelled():
            raise CancelledRunError("the neighbour graph was cancelled")
        if progress is not None:
            progress(share)

    return tick


def _group_equal_rows(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """int64[n]: equal rows share a number; numbers count up in order of first appearance."""
    if not len(rows):
        return np.empty(0, np.int64)
    _, first, group = np.unique(row_hashes(rows.view(np.uint32)), return_index=True, return_inverse=True)
    if len(first) < len(rows):
        alike = np.flatnonzero(first[group] != np.arange(len(rows)))
        assert np.array_equal(rows[first[group[alike]]], rows[alike]), "two different rows have one hash"
    by_appearance = np.empty(len(first), np.int64)
    by_appearance[np.argsort(first)] = np.arange(len(first))
    return by_appearance[group]


def _search_distinct(rows: NDArray[np.float32], k: int, seed: int, tick: Progress) -> _Neighbours:
    device = gpu_device()
    if device is not None and fits(device, len(rows), rows.shape[1], k):
        # The encoder may take the memory in the meantime: slower is better than not at all.
        with suppress(torch.OutOfMemoryError):
            return exact_lists(rows, k, device, tick)
    return search_codes(rows, k, seed, tick, all_pairs=len(rows) <= ALL_PAIRS_ROWS_MAX)


def search_codes(vectors: NDArray[np.float32], k: int, seed: int, tick: Progress, *, all_pairs: bool) -> _Neighbours:
    """Rows int64[n, k] and similarities float32[n, k] by search among codes: all of them, or cell by cell."""
    n = len(vectors)
    codes, scale = quantise(vectors)
    every = np.arange(n, dtype=np.int32)
    order = np.arange(n)
    reach = min(k + MARGIN, max(1, n))
    if all_pairs:
        candidates = Candidates(codes, scale, every, reach)
        for first in range(0, n, _ROWS_AT_ONCE):
            block = every[first : first + _ROWS_AT_ONCE]
            tick(first / n)
            candidates.compare(block, every)
    else:
        cells = make_cells(vectors, codes, seed, part_of(tick, 0.0, 0.2))
        # Rows of one cell lie together, so that what is read together lies together in memory.
        order = np.argsort(cells.of, kind="stable")
        candidates = Candidates(codes[order], scale[order], every, reach)
        del codes
        members = np.split(every, np.cumsum(cells.size)[:-1])
        candidates.search(cells, members, cells.spread(vectors)[order], k, None, part_of(tick, 0.2, 0.8))
    share(score_exactly, n, (vectors, order), (candidates.rows, candidates.likeness))
    return _in_order(candidates.rows[:, :k], candidates.likeness[:, :k], order, k)


def _in_order(rows: NDArray[np.int32], likeness: NDArray[np.float32], order: NDArray[np.int64], k: int) -> _Neighbours:
    """Lists of rows in another order, in the vectors' own; padded to k."""
    found = np.full((len(rows), k), -1, np.int64)
    similarities = np.full((len(rows), k), -1.0, np.float32)
    held = rows.shape[1]
    found[order, :held] = np.where(rows >= 0, order[np.maximum(rows, 0)], -1)
    similarities[order, :held] = np.where(rows >= 0, likeness, -1.0)
    return found, similarities


def _without_self(found: NDArray[np.int64], similarities: NDArray[np.float32], own: NDArray[np.int64]) -> _Neighbours:
    """Drop `own` from each row, or the last entry where it is not among them: one column fewer."""
    order = np.argsort(found == own[:, None], axis=1, kind="stable")[:, :-1]
    return np.take_along_axis(found, order, 1), np.take_along_axis(similarities, order, 1)


def _expand(
    neighbours: NDArray[np.int64], similarities: NDArray[np.float32], group: NDArray[np.int64], k: int
) -> _Neighbours:
    """From neighbours among groups of equal rows to neighbours among rows."""
    by_group = np.argsort(group, kind="stable")
    starts = np.concatenate(([0], np.cumsum(np.bincount(group, minlength=len(neighbours)))))
    found = np.full((len(group), k), -1, np.int64)
    likeness = np.full((len(group), k), -1.0, np.float32)
    share(expand_groups, len(group), (neighbours, similarities, group, by_group, starts), (found, likeness))
    return found, likeness
