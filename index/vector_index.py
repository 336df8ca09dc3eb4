"""The searchable index: exact while that is fast enough, by lists above. Every similarity is the exact inner product.

It stays on the CPU: FAISS's GPU indexes cannot remove an id, and only some of their builds can filter.
"""

import math
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coterie.domain import LIMITS, InvalidError
from coterie.index.checks import checked_ids, checked_pairs
from coterie.index.engine import faiss
from coterie.index.parts import (
    Coarse,
    Part,
    Tail,
    View,
    coarse_of,
    joined_part,
    lists_for,
    made_part,
    trained,
    training_sample,
)
from coterie.index.results import Hits, checked_queries, last_of_each
from coterie.index.snapshot import Write, damaged, open_snapshot, read_arrays, write_arrays, write_snapshot

FLAT_ROWS_MAX = 100_000
_PROBES = 64
"""Lists a search looks at until its recall was measured."""

_PROBES_TRIED = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_RECALL_MIN = 0.98
_RECALL_QUERIES = 256
_RECALL_K = 10
_RECALL_BLOCK_ROWS = 65_536
_TAIL_ROWS_MAX = 4_096
_TIER = 4
"""A part is joined with the one before unless that is at least so many times as large: few parts, and each row is
copied a few times only."""

_REMEASURED_GROWTH = 1.5
_KIND = "parts"


@dataclass(frozen=True, slots=True)
class IndexState:
    """How an index is searched.

    Attributes:
        rows: all of them. `tail_rows`: those among them that are searched exactly.
        lists: 0 while everything is searched exactly. `probes`: how many of them a search looks at.
        recall: recall@10 measured on rows of its own with these probes; 1.0 without lists, None before it was.
    """

    rows: int
    tail_rows: int
    lists: int
    probes: int
    recall: float | None


class VectorIndex:
    """Inner-product search over unit vectors with int64 ids. Thread-safe, and no search waits for a change.

    Up to 100,000 rows a search is exact. Above, `maintain` puts rows into lists and measures how many of these a search
    has to look at for a recall@10 of .98; what was added since is searched exactly beside them.

    Args:
        dim: length of the vectors.
        flat_rows_max: rows up to which search is exact.
        probes: lists that a search looks at, instead of as many as the recall asks for.

    Raises:
        InvalidError: dim out of range.
    """

    def __init__(self, dim: int, *, flat_rows_max: int = FLAT_ROWS_MAX, probes: int | None = None) -> None:
        if not 1 <= dim <= LIMITS.vector_dim_max:
            raise InvalidError(f"dim is {dim}, use 1 to {LIMITS.vector_dim_max}", field="dim")
        self.dim = dim
        self._flat_rows_max = flat_rows_max
        self._tail_rows_max = min(flat_rows_max, _TAIL_ROWS_MAX)
        self._probes = probes
        self._measured_rows = 0
        # What is behind the tail: longer arrays, whose rest nobody sees.
        self._tail_ids = np.empty(0, np.int64)
        self._tail_rows = np.empty((0, dim), np.float32)
        self._view = View(Tail(self._tail_ids, self._tail_rows))
        self._change = threading.Lock()
        self._building = threading.Lock()
        self._removed_meanwhile: list[NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self._view)

    def __contains__(self, id_: int) -> bool:
        return bool(len(self._view.held(np.array([id_], np.int64))))

    def view(self) -> View:
        """The index as it is now; what comes later does not change it."""
        return self._view

    @property
    def state(self) -> IndexState:
        """How it is searched now."""
        view = self._view
        if view.coarse is None:
            return IndexState(len(view), len(view), 0, 0, 1.0)
        coarse = view.coarse
        recall = None if math.isnan(coarse.recall) else coarse.recall
        return IndexState(len(view), len(view.tail.ids), coarse.lists, coarse.probes, recall)

    def ids(self) -> NDArray[np.int64]:
        """The ids held, int64[n], ascending."""
        return self._view.ids()

    def held(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Those of some ids that are in the index, int64[m], ascending. Raises InvalidError."""
        return self._view.held(np.unique(checked_ids(ids)))

    def vectors(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The vectors of these ids, float32[n, dim], in their order.

        Raises:
            InvalidError: an id is not held.
        """
        distinct, places = np.unique(checked_ids(ids), return_inverse=True)
        numbers, rows = self._view.rows(distinct)
        if len(numbers) < len(distinct):
            raise InvalidError("an id is not in the index", field="ids")
        found: NDArray[np.float32] = rows[np.argsort(numbers)][places]
        return found

    def add(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        """Add vectors under their ids, replacing those that are there, and put them into lists where it is time.

        Args:
            ids: int64[n], not negative; of an id given twice the last one counts.
            vectors: float32[n, dim], unit rows.

        Raises:
            InvalidError: wrong shapes, a negative id, or a row that is not finite and of length 1.
        """
        self.put(ids, vectors)
        self.maintain()

    def put(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        """Add vectors as `add` does, but leave the lists to `maintain`. Raises InvalidError."""
        numbers, rows = checked_pairs(ids, vectors, self.dim)
        kept = last_of_each(numbers)
        numbers, rows = numbers[kept], rows[kept]
        with self._change:
            view, _ = self._without(self._view, numbers)
            self._note_removed(numbers)
            self._view = replace(view, tail=self._appended(view.tail, numbers, rows))

    def remove(self, ids: ArrayLike) -> int:
        """Remove ids; those that are not there are ignored. Returns how many were removed."""
        numbers = np.unique(checked_ids(ids))
        with self._change:
            self._view, removed = self._without(self._view, numbers)
            self._note_removed(numbers)
            return removed

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
        return self._view.search(rows, k, None if allowed is None else np.unique(checked_ids(allowed)))

    def maintain(self, *, threads: int | None = None) -> bool:
        """Put a full tail into lists, join small parts, train anew what outgrew its lists, drop what was removed.

        Searches and changes go on meanwhile; a second call waits. Returns whether anything was done.

        Args:
            threads: what it may take of the machine; by default all cores.
        """
        with self._building:
            done = False
            while self._step(threads):
                done = True
            return done

    def save(self, path: Path, *, last_vector: int, last_erasure: int) -> int:
        """Write a snapshot in one step, without what was removed; returns its rows. Searches and changes go on.

        Args:
            path: the file; its folder is created.
            last_vector, last_erasure: how far the store's sequences are contained, for replay after `load`.

        Raises:
            UnavailableError: it cannot be written; the old file is still there.
        """
        view = self._view
        pieces = [part.kept() for part in view.parts]
        header: dict[str, Any] = {
            "kind": _KIND,
            "dim": self.dim,
            "rows": len(view),
            "tail_rows": len(view.tail.ids),
            "part_rows": [len(ids) for ids, _, _ in pieces],
            "last_vector": last_vector,
            "last_erasure": last_erasure,
        }
        arrays: list[NDArray[Any]] = [view.tail.ids, view.tail.rows]
        if view.coarse is not None:
            empty = faiss.serialize_index(view.coarse.empty)
            header |= {
                "lists_bytes": len(empty),
                "probes": view.coarse.probes,
                "recall": None if math.isnan(view.coarse.recall) else view.coarse.recall,
                "trained_rows": view.coarse.trained_rows,
                "measured_rows": self._measured_rows,
            }
            arrays.append(empty)
        for piece in pieces:
            arrays += piece

        def write_payload(write: Write) -> None:
            write_arrays(write, arrays)

        write_snapshot(path, header, write_payload)
        return len(view)

    @classmethod
    def load(cls, path: Path, dim: int, *, flat_rows_max: int = FLAT_ROWS_MAX) -> tuple["VectorIndex", int, int]:
        """Read a snapshot: (index, last_vector, last_erasure).

        Raises:
            UnavailableError: missing, damaged, or of another dim; build the index anew.
        """
        with open_snapshot(path) as (header, payload):
            if (header.get("kind"), header.get("dim")) != (_KIND, dim):
                raise damaged(path, f"it holds {header.get('kind')} of dim {header.get('dim')}, not {_KIND} of {dim}")
            layout: dict[str, Any] = {
                "tail_ids": (np.int64, (header["tail_rows"],)),
                "tail_rows": (np.float32, (header["tail_rows"], dim)),
                "lists": (np.uint8, (header.get("lists_bytes", 0),)),
            }
            for number, rows in enumerate(header["part_rows"]):
                layout |= {
                    f"ids{number}": (np.int64, (rows,)),
                    f"assigned{number}": (np.int64, (rows,)),
                    f"rows{number}": (np.float32, (rows, dim)),
                }
            arrays = read_arrays(payload, layout, path)
            index = cls(dim, flat_rows_max=flat_rows_max)
            index._restore(path, header, arrays)
            return index, int(header["last_vector"]), int(header["last_erasure"])

    def _restore(self, path: Path, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self._tail_ids, self._tail_rows = arrays["tail_ids"], arrays["tail_rows"]
        coarse = None
        if len(arrays["lists"]):
            try:
                empty = faiss.deserialize_index(arrays["lists"])
            except RuntimeError as error:
                raise damaged(path, "FAISS cannot read it; another version may have written it") from error
            recall = math.nan if header["recall"] is None else header["recall"]
            coarse = coarse_of(empty, header["probes"], header["trained_rows"], recall)
            self._measured_rows = header["measured_rows"]
        parts = []
        for number in range(len(header["part_rows"])):
            assert coarse is not None
            parts.append(made_part(coarse, *(arrays[f"{name}{number}"] for name in ("ids", "rows", "assigned"))))
        self._view = View(Tail(self._tail_ids, self._tail_rows), tuple(parts), coarse)
        ids = self._view.ids()
        if len(ids) != header["rows"] or len(np.unique(ids)) != len(ids):
            raise damaged(path, f"it holds {len(ids)} rows, not {header['rows']}")

    # Changes: all of them under `_change`, and each ends with one new view.

    def _appended(self, tail: Tail, ids: NDArray[np.int64], rows: NDArray[np.float32]) -> Tail:
        start, stop = len(tail.ids), len(tail.ids) + len(ids)
        # Only the tail that ends where the arrays are filled to may be added to in place: readers of the others see
        # rows that were there before.
        if stop > len(self._tail_ids):
            room = max(stop, 2 * start, 1_024)
            self._tail_ids = _grown(tail.ids, room)
            self._tail_rows = _grown(tail.rows, room)
        self._tail_ids[start:stop] = ids
        self._tail_rows[start:stop] = rows
        return Tail(self._tail_ids[:stop], self._tail_rows[:stop])

    def _without(self, view: View, ids: NDArray[np.int64]) -> tuple[View, int]:
        removed = 0
        parts = []
        for part in view.parts:
            _, numbers = part.held(ids)
            removed += len(numbers)
            left = part.without(numbers) if len(numbers) else part
            if left.live:
                parts.append(left)
        tail = view.tail
        _, numbers = tail.held(ids)
        if len(numbers):
            removed += len(numbers)
            tail = self._retailed(tail, np.setdiff1d(np.arange(len(tail.ids)), numbers))
        return View(tail, tuple(parts), view.coarse), removed

    def _retailed(self, tail: Tail, kept: NDArray[np.int64]) -> Tail:
        self._tail_ids, self._tail_rows = tail.ids[kept], tail.rows[kept]
        return Tail(self._tail_ids, self._tail_rows)

    def _note_removed(self, ids: NDArray[np.int64]) -> None:
        if self._removed_meanwhile is not None:
            self._removed_meanwhile.append(ids)

    # Maintenance: under `_building`, which keeps parts and lists as they are but for what is removed.

    def _step(self, threads: int | None) -> bool:
        view = self._view
        rows, coarse = len(view), view.coarse
        if threads is not None:
            faiss.omp_set_num_threads(threads)
        if (coarse is None and rows > self._flat_rows_max) or (
            coarse is not None and lists_for(rows) >= 2 * coarse.lists and rows > self._flat_rows_max
        ):
            self._rebuild()
        elif coarse is not None and len(view.tail.ids) > self._tail_rows_max:
            self._seal()
        elif any(part.removed for part in view.parts):
            self._compact()
        elif coarse is not None and self._probes is None and rows > _REMEASURED_GROWTH * self._measured_rows:
            self._measure()
        else:
            return False
        return True

    def _rebuild(self) -> None:
        """Train lists on all there is, and put all of it into one part."""
        view = self._watch_removals()
        ids, rows = _everything(view)
        draw = np.random.default_rng(len(ids))
        sample = draw.choice(len(ids), min(len(ids), training_sample(len(ids))), replace=False)
        coarse = trained(rows[np.sort(sample)], len(ids), self._probes or _PROBES)
        self._publish(view, (), made_part(coarse, ids, rows), coarse)
        self._measured_rows = 0

    def _seal(self) -> None:
        """Make a part of the tail, and one of the small parts before it."""
        view = self._watch_removals()
        assert view.coarse is not None
        part = made_part(view.coarse, view.tail.ids.copy(), view.tail.rows.copy())
        joined, before = [part], list(view.parts)
        while before and before[-1].live < _TIER * sum(other.live for other in joined):
            joined.insert(0, before.pop())
        if len(joined) > 1:
            part = joined_part(view.coarse, tuple(joined))
        self._publish(view, tuple(before), part, view.coarse)

    def _compact(self) -> None:
        """Take out of memory what was removed from parts."""
        view = self._watch_removals()
        parts = tuple(part.compacted(view.coarse) if part.removed and view.coarse else part for part in view.parts)
        with self._change:
            removed, self._removed_meanwhile = self._removed_meanwhile or [], None
            compacted = View(self._view.tail, parts, view.coarse)
            self._view = self._parts_without(compacted, removed)

    def _measure(self) -> None:
        """Find the fewest probes that reach the recall, on a sample of the rows, each without itself."""
        view = self._view
        assert view.coarse is not None
        ids, queries, truth = _sampled(view)
        best = view.coarse
        tried = [probes for probes in _PROBES_TRIED if probes < view.coarse.lists] + [view.coarse.lists]
        for probes in tried:
            coarse = replace(view.coarse, probes=probes)
            found, _ = replace(view, coarse=coarse).search(queries, _RECALL_K + 1, None)
            best = replace(coarse, recall=_recall(ids, found, truth))
            if best.recall >= _RECALL_MIN or probes >= _PROBES_TRIED[-1]:
                break
        with self._change:
            self._view = replace(self._view, coarse=best)
        self._measured_rows = len(view)

    def _watch_removals(self) -> View:
        with self._change:
            self._removed_meanwhile = []
            return self._view

    def _publish(self, view: View, before: tuple[Part, ...], part: Part, coarse: Coarse) -> None:
        """Put what was built from a view in its place; what came to the tail since stays there."""
        with self._change:
            removed, self._removed_meanwhile = self._removed_meanwhile or [], None
            now = self._view
            tail = now.tail
            # Of the tail that was built from, what is still there is its beginning.
            built = np.isin(tail.ids, view.tail.ids) & ~np.isin(tail.ids, np.concatenate([[-1], *removed]))
            self._view = self._parts_without(View(tail, (*before, part), coarse), removed)
            self._view = replace(self._view, tail=self._retailed(tail, np.flatnonzero(~built)))

    def _parts_without(self, view: View, removed: list[NDArray[np.int64]]) -> View:
        """What was removed or replaced while it was built goes from its parts; the tail has it right already."""
        if not removed:
            return view
        gone = np.unique(np.concatenate(removed))
        parts = []
        for part in view.parts:
            _, numbers = part.held(gone)
            left = part.without(numbers) if len(numbers) else part
            if left.live:
                parts.append(left)
        return replace(view, parts=tuple(parts))


def _grown(array: NDArray[Any], room: int) -> NDArray[Any]:
    grown = np.empty((room, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


def _everything(view: View) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    pieces = [part.kept() for part in view.parts]
    ids = np.concatenate([*(ids for ids, _, _ in pieces), view.tail.ids])
    return ids, np.concatenate([*(rows for _, _, rows in pieces), view.tail.rows])


def _sampled(view: View) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Ids of a sample, their rows, and the ids of the rows nearest to each: itself and ten more."""
    everything = view.ids()
    draw = np.random.default_rng(len(everything))
    chosen = np.sort(draw.choice(everything, min(len(everything), _RECALL_QUERIES), replace=False))
    ids, queries = view.rows(chosen)
    best = (np.empty((len(ids), 0), np.float32), np.empty((len(ids), 0), np.int64))
    for piece in view.pieces():
        for first in range(0, len(piece.ids), _RECALL_BLOCK_ROWS):
            rows = piece.rows[first : first + _RECALL_BLOCK_ROWS]
            k = min(_RECALL_K + 1, len(rows))
            similarities, found = faiss.knn(queries, rows, k, metric=faiss.METRIC_INNER_PRODUCT)
            numbers = piece.ids[first + found]
            scores = np.concatenate([best[0], np.where(numbers < 0, -2.0, similarities).astype(np.float32)], axis=1)
            order = np.argsort(-scores, axis=1, kind="stable")[:, : _RECALL_K + 1]
            numbers = np.concatenate([best[1], numbers], axis=1)
            best = np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)
    return ids, queries, best[1]


def _recall(ids: NDArray[np.int64], found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """The share of the true neighbours, itself left out, that were found."""
    others = (truth != ids[:, None]) & (truth >= 0)
    hit = (truth[:, :, None] == found[:, None, :]).any(axis=2) & others
    return float(hit.sum() / max(1, others.sum()))
