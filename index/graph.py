"""The k-nearest-neighbour graph of a set of unit vectors.

Exact for small sets and wherever a GPU is at hand; above that an inverted file searched list by list, so that each
list is one matrix product for all the queries that probe it. (`faiss.contrib.big_batch_search` does the same; it
prints to stdout at every verbosity and can be neither cancelled nor followed.)
"""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coterie.domain import CancelledRunError, InvalidError, NeighbourGraph
from coterie.index.checks import checked_vectors
from coterie.index.engine import BulkSearch, faiss, gpu_count

K_MAX = 1_000
EXACT_ROWS_MAX_CPU = 30_000
EXACT_ROWS_MAX_GPU = 1_500_000
_QUERY_BLOCK_CPU = 2_048
_QUERY_BLOCK_GPU = 65_536
_LISTS_PER_SQRT_ROW = 0.9
_PROBES = 16
_TRAINING_ROWS_PER_LIST = 64
_TRAINING_ITERATIONS = 10

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
    equally far vectors takes the last place is FAISS's choice. The same input and seed give the same graph on the same
    machine.

    Args:
        vectors: float32[n, dim], unit rows.
        k: neighbours a row, 1 to 1,000; rows that have fewer are padded.
        seed: of the training of the inverted file, used above 30,000 distinct rows (1.5 million with a GPU).
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
    neighbours, similarities = _search_distinct(rows[first], k, seed, tick)
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
    bulk = BulkSearch(use_gpu=False)
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
    numbers: dict[bytes, int] = {}
    digests = (hashlib.blake2b(row.data, digest_size=16).digest() for row in rows)
    return np.fromiter(
        (numbers.setdefault(digest, len(numbers)) for digest in digests), dtype=np.int64, count=len(rows)
    )


def _search_distinct(rows: NDArray[np.float32], k: int, seed: int, tick: Progress) -> _Neighbours:
    use_gpu = gpu_count() > 0
    # One more than asked for: the nearest row is, as a rule, the row itself.
    reach = min(k + 1, len(rows))
    bulk = BulkSearch(use_gpu=use_gpu)
    if len(rows) <= (EXACT_ROWS_MAX_GPU if use_gpu else EXACT_ROWS_MAX_CPU):
        found, similarities = _exact(rows, reach, bulk, _QUERY_BLOCK_GPU if use_gpu else _QUERY_BLOCK_CPU, tick)
    else:
        found, similarities = _inverted_file(rows, reach, bulk, seed, tick)
    found, similarities = _by_similarity_then_row(found, similarities)
    found, similarities = _without_self(found, similarities, np.arange(len(rows)))
    return _padded(found, similarities, k)


def _exact(rows: NDArray[np.float32], reach: int, bulk: BulkSearch, block: int, tick: Progress) -> _Neighbours:
    found = np.empty((len(rows), reach), dtype=np.int64)
    similarities = np.empty((len(rows), reach), dtype=np.float32)
    for start in range(0, len(rows), block):
        tick(start / len(rows))
        stop = start + block
        similarities[start:stop], found[start:stop] = bulk.nearest(rows[start:stop], rows, reach)
    return found, similarities


def _inverted_file(rows: NDArray[np.float32], reach: int, bulk: BulkSearch, seed: int, tick: Progress) -> _Neighbours:
    lists = round(_LISTS_PER_SQRT_ROW * len(rows) ** 0.5)
    tick(0.0)
    centroids = _train(rows, lists, seed)
    _, probed = bulk.nearest(rows, centroids, min(_PROBES, lists))
    # The nearest list holds the row; all probed lists are searched for it.
    members = _rows_by_list(probed[:, :1], lists)
    queries = _rows_by_list(probed, lists)
    heap = faiss.ResultHeap(len(rows), reach, keep_max=True)
    for number in range(lists):
        tick(number / lists)
        held, asking = members[number], queries[number]
        if len(held) and len(asking):
            similarities, found = bulk.nearest(rows[asking], rows[held], min(reach, len(held)))
            heap.add_result_subset(asking, similarities, held[found])
    heap.finalize()
    return heap.I, heap.D


def _train(rows: NDArray[np.float32], lists: int, seed: int) -> NDArray[np.float32]:
    """Centroids float32[lists, dim] by spherical k-means on a sample."""
    kmeans = faiss.Kmeans(
        rows.shape[1],
        lists,
        niter=_TRAINING_ITERATIONS,
        seed=seed,
        spherical=True,
        max_points_per_centroid=_TRAINING_ROWS_PER_LIST,
        min_points_per_centroid=1,
    )
    sample = np.random.default_rng(seed).permutation(len(rows))[: lists * _TRAINING_ROWS_PER_LIST]
    kmeans.train(rows[np.sort(sample)])
    centroids: NDArray[np.float32] = kmeans.centroids
    return centroids


def _rows_by_list(probed: NDArray[np.int64], lists: int) -> list[NDArray[np.int64]]:
    """For each list the rows that name it in `probed` [n, p], ascending."""
    order = np.argsort(probed.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(probed.ravel(), minlength=lists))
    return np.split(order // probed.shape[1], ends[:-1])


def _by_similarity_then_row(found: NDArray[np.int64], similarities: NDArray[np.float32]) -> _Neighbours:
    order = np.argsort(found, axis=1, kind="stable")
    found, similarities = np.take_along_axis(found, order, 1), np.take_along_axis(similarities, order, 1)
    order = np.argsort(-similarities, axis=1, kind="stable")
    return np.take_along_axis(found, order, 1), np.take_along_axis(similarities, order, 1)


def _without_self(found: NDArray[np.int64], similarities: NDArray[np.float32], own: NDArray[np.int64]) -> _Neighbours:
    """Drop `own` from each row, or the last entry where it is not among them: one column fewer."""
    order = np.argsort(found == own[:, None], axis=1, kind="stable")[:, :-1]
    return np.take_along_axis(found, order, 1), np.take_along_axis(similarities, order, 1)


def _padded(found: NDArray[np.int64], similarities: NDArray[np.float32], k: int) -> _Neighbours:
    missing = ((0, 0), (0, k - found.shape[1]))
    return np.pad(found, missing, constant_values=-1), np.pad(similarities, missing, constant_values=-1.0)


def _expand(
    neighbours: NDArray[np.int64], similarities: NDArray[np.float32], group: NDArray[np.int64], k: int
) -> _Neighbours:
    """From neighbours among groups of equal rows to neighbours among rows."""
    groups = len(neighbours)
    by_group = np.argsort(group, kind="stable")
    counts = np.bincount(group, minlength=groups)
    starts = np.cumsum(counts) - counts
    # Each group's candidates: its own rows, then those of its neighbours; at most k + 1 rows of a group can matter.
    listed = np.hstack([np.arange(groups)[:, None], neighbours]).ravel()
    likeness = np.hstack([np.ones((groups, 1), np.float32), similarities]).ravel()
    sizes = np.where(listed < 0, 0, np.minimum(counts[listed], k + 1))
    owner = np.repeat(np.repeat(np.arange(groups), k + 1), sizes)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    row = by_group[np.repeat(starts[listed], sizes) + within]
    flat_similarities = np.repeat(likeness, sizes)
    order = np.lexsort((row, -flat_similarities, owner))
    owner, row, flat_similarities = owner[order], row[order], flat_similarities[order]
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    kept = place <= k
    table = np.full((groups, k + 1), -1, dtype=np.int64)
    table_similarities = np.full((groups, k + 1), -1.0, dtype=np.float32)
    table[owner[kept], place[kept]] = row[kept]
    table_similarities[owner[kept], place[kept]] = flat_similarities[kept]
    return _without_self(table[group], table_similarities[group], np.arange(len(group)))
