"""What an index is made of: parts that are never changed, searched by lists, and a tail that is searched exactly.

A search takes one `View` and works on that alone: writers make a new view and put it in the place of the old one, so
that no search ever waits for them. A part is an inverted file of eight-bit codes (FAISS, scalar quantiser) beside its
float32 rows: the codes find candidates, and the rows score them again, so that every similarity is the exact inner
product. Codes take a quarter of the memory traffic, and lose nothing that the second look does not bring back.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coterie.index.engine import faiss
from coterie.index.results import Hits, tidy
from coterie.index.workers import cores

_TRAINING_ROWS_PER_LIST = 40
_TRAINING_ITERATIONS = 8
_LISTS_PER_SQRT_ROW = 4
_ADD_ROWS = 8_192
_SCORED_EXACTLY_MAX = 20_000
"""Allowed ids that are scored one by one: lists that are not probed would hide some of them."""

_EXTRA_MIN = 32
"""Candidates above k that are scored again, so that what eight bits put a little too low is still among them."""

_TOGETHER_MIN = 16
"""Queries from which a search takes more than one thread: below, threads cost the searches beside it more than they
give."""

Ids = NDArray[np.int64]
Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Coarse:
    """The lists that every part shares.

    Attributes:
        empty: a trained inverted file without rows.
        centroids: float32[lists, dim].
        probes: lists a search looks at. `recall`: the recall@10 measured with them, NaN where it was not.
        trained_rows: how many rows there were when it was trained.
    """

    empty: Any
    centroids: Rows
    probes: int
    trained_rows: int
    recall: float = math.nan

    @property
    def lists(self) -> int:
        """How many."""
        return len(self.centroids)


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Rows that do not change. An id of -1 was removed, and goes with the next `compacted`.

    Attributes:
        ids: int64[n]. `rows`: float32[n, dim]. `assigned`: int64[n], the list of each row.
        codes: the inverted file; its own ids are row numbers.
        order: int64[n], row numbers by rising id.
    """

    ids: Ids
    rows: Rows
    assigned: Ids
    codes: Any
    order: Ids
    removed: int = 0

    @property
    def live(self) -> int:
        """Rows that were not removed."""
        return len(self.ids) - self.removed

    def held(self, ids: Ids) -> tuple[Ids, Ids]:
        """Those of some ids that are here, and the number of the row of each."""
        return _held(self.ids, self.order, ids)

    def without(self, row_numbers: Ids) -> "Part":
        """This part, some rows marked as removed."""
        ids = self.ids.copy()
        ids[row_numbers] = -1
        return replace(self, ids=ids, order=np.argsort(ids, kind="stable"), removed=self.removed + len(row_numbers))

    def kept(self) -> tuple[Ids, Ids, Rows]:
        """Ids, lists and rows of what was not removed."""
        if not self.removed:
            return self.ids, self.assigned, self.rows
        kept = np.flatnonzero(self.ids >= 0)
        return self.ids[kept], self.assigned[kept], self.rows[kept]

    def compacted(self, coarse: Coarse) -> "Part":
        """This part without the rows that were removed."""
        ids, assigned, rows = self.kept()
        return made_part(coarse, ids, rows, assigned)

    def search(self, queries: Rows, probed: tuple[Rows, Ids], wanted: int, allowed: Ids | None) -> tuple[Ids, Rows]:
        """Ids [q, m] and similarities of at least the `wanted` nearest rows; allowed: row numbers, rising, or all."""
        reach = min(len(self.ids), wanted + max(_EXTRA_MIN, wanted // 4) + min(self.removed, 1_024))
        selector, available = None, self.live
        if allowed is not None:
            if len(allowed) <= _SCORED_EXACTLY_MAX:
                return self._score_allowed(queries, wanted, allowed)
            selector, available = _bitmap(allowed, len(self.ids)), len(allowed)
        found = _search_lists(self.codes, queries, probed, reach, selector)
        ids = np.where(found < 0, -1, self.ids[found])
        similarities = _scored(queries, self.rows, found)
        similarities[ids < 0] = -1.0
        short = np.flatnonzero((ids >= 0).sum(axis=1) < min(wanted, available))
        if len(short):  # the lists that were probed hold too few: look at every row
            return self._search_all(queries, wanted, short, ids, similarities, allowed)
        return ids, similarities

    def _score_allowed(self, queries: Rows, wanted: int, allowed: Ids) -> tuple[Ids, Rows]:
        if not len(allowed):
            return _nothing(len(queries))
        similarities, found = faiss.knn(
            queries, self.rows[allowed], min(wanted, len(allowed)), metric=faiss.METRIC_INNER_PRODUCT
        )
        return self.ids[allowed[found]], similarities

    def _search_all(
        self, queries: Rows, wanted: int, short: Ids, ids: Ids, similarities: Rows, allowed: Ids | None
    ) -> tuple[Ids, Rows]:
        rows = np.flatnonzero(self.ids >= 0) if allowed is None else allowed
        width = max(ids.shape[1], min(wanted, len(rows)))
        ids = np.pad(ids, ((0, 0), (0, width - ids.shape[1])), constant_values=-1)
        similarities = np.pad(similarities, ((0, 0), (0, width - similarities.shape[1])), constant_values=-1.0)
        ids[short] = -1
        similarities[short] = -1.0
        base = self.rows if len(rows) == len(self.ids) else self.rows[rows]
        count = min(wanted, len(rows))
        exact, found = faiss.knn(queries[short], base, count, metric=faiss.METRIC_INNER_PRODUCT)
        ids[short, :count], similarities[short, :count] = self.ids[rows[found]], exact
        return ids, similarities


@dataclass(frozen=True, eq=False, slots=True)
class Tail:
    """The newest rows, not in lists yet: ids int64[n] and rows float32[n, dim], the beginning of longer arrays."""

    ids: Ids
    rows: Rows

    def held(self, ids: Ids) -> tuple[Ids, Ids]:
        """Those of some ids that are here, and the number of the row of each."""
        return _held(self.ids, np.argsort(self.ids, kind="stable"), ids)

    def search(self, queries: Rows, wanted: int, allowed: Ids | None) -> tuple[Ids, Rows]:
        """Ids [q, m] and similarities of the nearest rows; allowed: row numbers, or all."""
        ids, rows = (self.ids, self.rows) if allowed is None else (self.ids[allowed], self.rows[allowed])
        if not len(ids):
            return _nothing(len(queries))
        similarities, found = faiss.knn(queries, rows, min(wanted, len(ids)), metric=faiss.METRIC_INNER_PRODUCT)
        return ids[found], similarities


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """An index at one moment."""

    tail: Tail
    parts: tuple[Part, ...] = ()
    coarse: Coarse | None = field(default=None)

    def __len__(self) -> int:
        return len(self.tail.ids) + sum(part.live for part in self.parts)

    def pieces(self) -> "list[Tail | Part]":
        """The tail and the parts."""
        return [self.tail, *self.parts]

    def ids(self) -> Ids:
        """The ids held, int64[n], ascending."""
        parts = [part.ids[part.ids >= 0] for part in self.parts]
        return np.sort(np.concatenate([self.tail.ids, *parts]))

    def held(self, ids: Ids) -> Ids:
        """Those of some ids that are here, ascending."""
        return np.sort(np.concatenate([piece.held(ids)[0] for piece in self.pieces()]))

    def rows(self, ids: Ids) -> tuple[Ids, Rows]:
        """Those of some ids that are here, in no order, and the rows of each."""
        found = [(piece.held(ids), piece) for piece in self.pieces()]
        numbers = np.concatenate([held for (held, _), _ in found])
        return numbers, np.concatenate([piece.rows[row] for (_, row), piece in found])

    def search(self, queries: Rows, k: int, allowed: Ids | None) -> Hits:
        """The k nearest rows, tidied; allowed: ids, rising, or all."""
        wanted = min(k, len(self) if allowed is None else len(allowed))
        if not wanted or not len(queries):
            return tidy(*_nothing(len(queries)), k)
        faiss.omp_set_num_threads(1 if len(queries) < _TOGETHER_MIN else cores())
        results = [self.tail.search(queries, wanted, None if allowed is None else self.tail.held(allowed)[1])]
        rows = [None if allowed is None else np.sort(part.held(allowed)[1]) for part in self.parts]
        if self.parts:
            # The rarer the allowed ids, the more lists it takes to meet as many of them.
            rarity = 1.0 if allowed is None else max(1.0, len(self) / max(1, len(allowed)))
            probed = self._probe(queries, rarity)
            results += [
                part.search(queries, probed, wanted, chosen) for part, chosen in zip(self.parts, rows, strict=True)
            ]
        ids = np.concatenate([found for found, _ in results], axis=1)
        similarities = np.concatenate([scores for _, scores in results], axis=1)
        return _best(ids, similarities, k)

    def _probe(self, queries: Rows, rarity: float) -> tuple[Rows, Ids]:
        assert self.coarse is not None
        probes = min(self.coarse.lists, math.ceil(self.coarse.probes * rarity))
        distances, lists = self.coarse.empty.quantizer.search(queries, probes)
        return distances, lists


def lists_for(rows: int) -> int:
    """How many lists so many rows are divided into."""
    return max(1, min(rows, round(_LISTS_PER_SQRT_ROW * math.sqrt(rows))))


def trained(rows: Rows, total: int, probes: int, seed: int = 0) -> Coarse:
    """Lists for `total` rows, trained on a sample: spherical k-means, and one range of values for all dimensions."""
    dim, lists = rows.shape[1], lists_for(total)
    quantizer = faiss.IndexFlatIP(dim)
    empty = faiss.IndexIVFScalarQuantizer(
        quantizer, dim, lists, faiss.ScalarQuantizer.QT_8bit_uniform, faiss.METRIC_INNER_PRODUCT, False
    )
    empty.cp.niter = _TRAINING_ITERATIONS
    empty.cp.spherical = True
    empty.cp.seed = 1_234 + seed
    empty.cp.min_points_per_centroid = 1
    empty.cp.max_points_per_centroid = _TRAINING_ROWS_PER_LIST
    empty.train(rows)
    return coarse_of(empty, probes, total)


def training_sample(rows_total: int) -> int:
    """How many rows `trained` makes use of."""
    return lists_for(rows_total) * _TRAINING_ROWS_PER_LIST


def coarse_of(empty: Any, probes: int, trained_rows: int, recall: float = math.nan) -> Coarse:
    """The lists of a trained inverted file without rows."""
    centroids = empty.quantizer.reconstruct_n(0, empty.nlist)
    return Coarse(empty, centroids, min(probes, int(empty.nlist)), trained_rows, recall)


def made_part(coarse: Coarse, ids: Ids, rows: Rows, assigned: Ids | None = None) -> Part:
    """A part of these rows; without `assigned` the nearest list of each is looked up, which is what takes the time."""
    if assigned is None:
        assigned = np.empty(len(ids), np.int64)
        for first in range(0, len(ids), _ADD_ROWS):
            block = rows[first : first + _ADD_ROWS]
            assigned[first : first + len(block)] = coarse.empty.quantizer.search(block, 1)[1][:, 0]
    codes = faiss.clone_index(coarse.empty)
    numbers = np.arange(len(ids), dtype=np.int64)
    for first in range(0, len(ids), _ADD_ROWS):
        stop = min(first + _ADD_ROWS, len(ids))
        arrays = [np.ascontiguousarray(array[first:stop]) for array in (rows, numbers, assigned)]
        codes.add_core(len(arrays[0]), *(faiss.swig_ptr(array) for array in arrays))
    return Part(ids, rows, assigned, codes, np.argsort(ids, kind="stable"))


def joined_part(coarse: Coarse, parts: "tuple[Part, ...]") -> Part:
    """Several parts as one, without what was removed from them."""
    ids, assigned, rows = (np.concatenate(arrays) for arrays in zip(*(part.kept() for part in parts), strict=True))
    return made_part(coarse, ids, rows, assigned)


def _search_lists(codes: Any, queries: Rows, probed: tuple[Rows, Ids], reach: int, selector: Any) -> Ids:
    """The row numbers of the best codes in the lists of each query: int64[q, reach], -1 where there are fewer."""
    distances, lists = probed
    scores, found = np.empty((len(queries), reach), np.float32), np.empty((len(queries), reach), np.int64)
    parameters = faiss.SearchParametersIVF(nprobe=lists.shape[1], sel=selector)
    pointers = [faiss.swig_ptr(array) for array in (lists, distances, scores, found)]
    # Not FAISS's own wrapper, which does without parameters: the number of probes would be shared by all searches.
    codes.search_preassigned_c(len(queries), faiss.swig_ptr(queries), reach, *pointers, False, parameters)
    return found


def _held(ids: Ids, order: Ids, wanted: Ids) -> tuple[Ids, Ids]:
    if not len(ids) or not len(wanted):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    place = np.searchsorted(ids, wanted, sorter=order)
    rows = order[np.minimum(place, len(ids) - 1)]
    here = (ids[rows] == wanted) & (wanted >= 0)
    return wanted[here], rows[here]


def _scored(queries: Rows, rows: Rows, found: Ids) -> Rows:
    """The inner product of each query with each row found for it; of no row (-1) it is of no meaning."""
    similarities = np.empty(found.shape, np.float32)
    for query in range(len(queries)):
        similarities[query] = rows[found[query]] @ queries[query]
    return similarities


def _best(ids: Ids, similarities: Rows, k: int) -> Hits:
    """The k best of unordered results, without the rest being sorted."""
    if ids.shape[1] > 4 * k:
        similarities = np.where(ids < 0, np.float32(-np.inf), similarities)
        # One more than k, so that equals at the edge are told apart by id as everywhere else.
        edge = -np.partition(-similarities, k, axis=1)[:, k : k + 1]
        width = int((similarities >= edge).sum(axis=1).max())
        chosen = np.argpartition(-similarities, min(width, ids.shape[1] - 1), axis=1)[:, :width]
        ids, similarities = np.take_along_axis(ids, chosen, 1), np.take_along_axis(similarities, chosen, 1)
    ids, similarities = tidy(ids, similarities, max(k, ids.shape[1]))
    return ids[:, :k], similarities[:, :k]


def _bitmap(numbers: Ids, count: int) -> Any:
    chosen = np.zeros(count, bool)
    chosen[numbers] = True
    return faiss.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))


def _nothing(queries: int) -> tuple[Ids, Rows]:
    return np.empty((queries, 0), np.int64), np.empty((queries, 0), np.float32)
