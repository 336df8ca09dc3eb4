"""The searchable index: FAISS flat while that is fast enough, an inverted file above. Both keep float32 rows, so that
every similarity returned is the exact inner product.

It stays on the CPU: FAISS's GPU indexes cannot remove an id, and only some of their builds can filter.
"""

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coterie.domain import LIMITS, InvalidError
from coterie.index.checks import checked_ids, checked_pairs
from coterie.index.engine import faiss
from coterie.index.locks import ReadWriteLock
from coterie.index.results import Hits, checked_queries, last_of_each, tidy
from coterie.index.snapshot import Write, damaged, open_snapshot, write_snapshot

FLAT_ROWS_MAX = 100_000
_LISTS_PER_SQRT_ROW = 4
_PROBES = 128
"""Lists a search looks at: recall@10 .98 on real prompts, .965 with half as many."""

_TRAINING_ROWS_PER_LIST = 40
_TRAINING_ITERATIONS = 10
_SCORED_EXACTLY_MAX = 20_000
"""Allowed ids that are scored one by one: an inverted file would miss those in lists it does not probe."""

_IO_BLOCK_BYTES = 1 << 20
_KIND = "faiss"


class VectorIndex:
    """Inner-product search over unit vectors with int64 ids. Thread-safe: searches run side by side, changes alone.

    Up to 100,000 rows a search is exact. Above, an inverted file is trained (seconds, during the `add` that crosses
    the line and whenever the index has grown fourfold; searches go on meanwhile) and a search looks at the 128 nearest
    of its lists.

    Args:
        dim: length of the vectors.
        flat_rows_max: rows up to which search is exact.
        probes: lists of an inverted file that a search looks at; fewer are faster and find less.

    Raises:
        InvalidError: dim out of range.
    """

    def __init__(self, dim: int, *, flat_rows_max: int = FLAT_ROWS_MAX, probes: int = _PROBES) -> None:
        if not 1 <= dim <= LIMITS.vector_dim_max:
            raise InvalidError(f"dim is {dim}, use 1 to {LIMITS.vector_dim_max}", field="dim")
        self.dim = dim
        self._flat_rows_max = flat_rows_max
        self._probes = probes
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))
        # FAISS takes an id twice without complaint, and cannot be asked whether it holds one.
        self._ids: set[int] = set()
        self._change = threading.Lock()
        self._gate = ReadWriteLock()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, id_: int) -> bool:
        return int(id_) in self._ids

    def ids(self) -> NDArray[np.int64]:
        """The ids held, int64[n], ascending."""
        with self._gate.read():
            return np.sort(np.fromiter(self._ids, dtype=np.int64, count=len(self._ids)))

    def held(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Those of some ids that are in the index, int64[m], ascending. Raises InvalidError."""
        numbers = checked_ids(ids).tolist()
        with self._gate.read():
            found = self._ids.intersection(numbers)
        return np.sort(np.fromiter(found, dtype=np.int64, count=len(found)))

    def vectors(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The vectors of these ids, float32[n, dim], in their order.

        Raises:
            InvalidError: an id is not held.
        """
        numbers = checked_ids(ids)
        with self._gate.read():
            if not self._ids.issuperset(numbers.tolist()):
                raise InvalidError("an id is not in the index", field="ids")
            rows: NDArray[np.float32] = self._index.reconstruct_batch(numbers)
        return rows

    def add(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        """Add vectors under their ids, replacing those that are there; of an id given twice the last one counts.

        Args:
            ids: int64[n], not negative.
            vectors: float32[n, dim], unit rows.

        Raises:
            InvalidError: wrong shapes, a negative id, or a row that is not finite and of length 1.
        """
        self.put(ids, vectors)
        self.train_if_outgrown()

    def put(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        """Add vectors as `add` does, but leave the training to `train_if_outgrown`. Raises InvalidError."""
        numbers, rows = checked_pairs(ids, vectors, self.dim)
        kept = last_of_each(numbers)
        numbers, rows = numbers[kept], rows[kept]
        with self._change, self._gate.write():
            self._remove(numbers)
            self._index.add_with_ids(rows, numbers)
            self._ids.update(numbers.tolist())

    def train_if_outgrown(self) -> None:
        """Train an inverted file if there are too many rows for what is there; searches go on meanwhile."""
        with self._change:
            if self._outgrown():
                self._train()

    def remove(self, ids: ArrayLike) -> int:
        """Remove ids; those that are not there are ignored. Returns how many were removed."""
        numbers = checked_ids(ids)
        with self._change, self._gate.write():
            return self._remove(numbers)

    def search(self, queries: ArrayLike, k: int, *, allowed: NDArray[np.int64] | None = None) -> Hits:
        """The k nearest of the ids held.

        Args:
            queries: float32[q, dim], unit rows.
            k: hits a query, 1 to 16,384.
            allowed: only these ids can be hits; None allows all, an empty array none.

        Returns:
            ids int64[q, k] and similarities float32[q, k]: cosine, descending, equals by id; where there are fewer
            than k, -1 and -1.0.

        Raises:
            InvalidError: a bad query or k out of range.
        """
        rows = checked_queries(queries, self.dim, k)
        wanted = None if allowed is None else np.unique(checked_ids(allowed))
        with self._gate.read():
            reach = min(k, len(self._ids) if wanted is None else len(wanted))
            if reach == 0 or len(rows) == 0:
                found, similarities = np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0), np.float32)
            elif not self._inverted():
                found, similarities = self._search_flat(rows, reach, wanted)
            elif wanted is not None and len(wanted) <= _SCORED_EXACTLY_MAX:
                found, similarities = self._score(rows, reach, wanted)
            else:
                found, similarities = self._search_lists(rows, reach, wanted)
        return tidy(found, similarities, k)

    def save(self, path: Path, *, last_vector: int, last_erasure: int) -> None:
        """Write a snapshot in one step; searches go on, changes wait.

        Args:
            path: the file; its folder is created.
            last_vector, last_erasure: how far the store's sequences are contained, for replay after `load`.

        Raises:
            UnavailableError: it cannot be written; the old file is still there.
        """

        def write_payload(write: Write) -> None:
            # FAISS hands over what it owns: copy it before it goes on.
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(lambda block: write(bytes(block)), _IO_BLOCK_BYTES))

        with self._change:
            header = {
                "kind": _KIND,
                "dim": self.dim,
                "rows": len(self._ids),
                "last_vector": last_vector,
                "last_erasure": last_erasure,
            }
            write_snapshot(path, header, write_payload)

    @classmethod
    def load(cls, path: Path, dim: int, *, flat_rows_max: int = FLAT_ROWS_MAX) -> tuple["VectorIndex", int, int]:
        """Read a snapshot: (index, last_vector, last_erasure).

        Raises:
            UnavailableError: missing, damaged, or of another dim; build the index anew.
        """
        with open_snapshot(path) as (header, read):
            if (header.get("kind"), header.get("dim")) != (_KIND, dim):
                raise damaged(path, f"it holds {header.get('kind')} of dim {header.get('dim')}, not {_KIND} of {dim}")
            try:
                loaded = faiss.read_index(faiss.PyCallbackIOReader(read, _IO_BLOCK_BYTES))
            except RuntimeError as error:
                raise damaged(path, "FAISS cannot read it; another version may have written it") from error
        index = cls(dim, flat_rows_max=flat_rows_max)
        index._index = loaded
        index._ids = set(_stored_ids(loaded).tolist())
        if not loaded.d == dim or not loaded.ntotal == len(index._ids) == header["rows"]:
            raise damaged(path, f"it holds {loaded.ntotal} rows of dim {loaded.d}, not {header['rows']} of {dim}")
        return index, int(header["last_vector"]), int(header["last_erasure"])

    def _inverted(self) -> bool:
        return isinstance(self._index, faiss.IndexIVFFlat)

    def _remove(self, numbers: NDArray[np.int64]) -> int:
        held = self._ids.intersection(numbers.tolist())
        if held:
            removed = self._index.remove_ids(np.fromiter(held, dtype=np.int64, count=len(held)))
            assert removed == len(held), "FAISS and the id set differ"
            self._ids -= held
        return len(held)

    def _outgrown(self) -> bool:
        rows = len(self._ids)
        if not self._inverted():
            return rows > self._flat_rows_max
        return _lists(rows) >= 2 * int(self._index.nlist)

    def _train(self) -> None:
        """Move all rows into an inverted file trained on them. Only writers call this: nothing changes meanwhile."""
        numbers = self.ids()
        rows = self._index.reconstruct_batch(numbers)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(self.dim), self.dim, _lists(len(rows)), faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = _TRAINING_ITERATIONS
        index.cp.spherical = True
        index.cp.min_points_per_centroid = 1
        index.cp.max_points_per_centroid = _TRAINING_ROWS_PER_LIST
        index.train(rows)
        # Removing and reading back by id both need the way from an id to its row.
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
        index.add_with_ids(rows, numbers)
        with self._gate.write():
            self._index = index

    def _search_flat(
        self, rows: NDArray[np.float32], reach: int, wanted: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        params = None if wanted is None else faiss.SearchParameters(sel=faiss.IDSelectorBatch(wanted))
        similarities, found = self._index.search(rows, reach, params=params)
        return found, similarities

    def _score(
        self, rows: NDArray[np.float32], reach: int, wanted: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        held = np.array([number for number in wanted.tolist() if number in self._ids], dtype=np.int64)
        if not len(held):
            return np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0), np.float32)
        similarities, found = faiss.knn(
            rows, self._index.reconstruct_batch(held), min(reach, len(held)), metric=faiss.METRIC_INNER_PRODUCT
        )
        return held[found], similarities

    def _search_lists(
        self, rows: NDArray[np.float32], reach: int, wanted: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        selector = None if wanted is None else faiss.IDSelectorBatch(wanted)
        # The rarer the allowed ids, the more lists it takes to meet as many of them.
        rarity = 1.0 if wanted is None else max(1.0, len(self._ids) / len(wanted))
        lists = int(self._index.nlist)
        probes = min(lists, math.ceil(self._probes * rarity))
        similarities, found = self._search_probes(rows, reach, probes, selector)
        short = np.flatnonzero(found[:, -1] < 0)
        if len(short) and probes < lists:
            similarities[short], found[short] = self._search_probes(rows[short], reach, lists, selector)
        return found, similarities

    def _search_probes(
        self, rows: NDArray[np.float32], reach: int, probes: int, selector: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        params = faiss.SearchParametersIVF(nprobe=probes, sel=selector)
        similarities, found = self._index.search(rows, reach, params=params)
        return similarities, found


def _lists(rows: int) -> int:
    return max(1, min(rows, round(_LISTS_PER_SQRT_ROW * math.sqrt(rows))))


def _stored_ids(index: Any) -> NDArray[np.int64]:
    """The ids in a FAISS index, in no order."""
    if isinstance(index, faiss.IndexIDMap2):
        ids: NDArray[np.int64] = faiss.vector_to_array(index.id_map)
        return ids
    lists = index.invlists
    parts = [
        faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number)).copy()
        for number in range(index.nlist)
        if lists.list_size(number)
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
