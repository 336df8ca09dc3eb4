"""The k-nearest-neighbour graph of a changing set of vectors.

Every row keeps k + slack neighbours. A new row is searched, and offered to every row that would have found it. A row
that loses neighbours to removals lives on its slack, and is searched anew when less than k are left. So the graph costs
what changed, and not what there is.

Memory: 2 bytes a dimension for the vectors (float16, as the store keeps them), 1 for their codes, 8 a neighbour: about
1.5 GB for a million rows of 384 with 40 neighbours each.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coterie.domain import InvalidError, NeighbourGraph
from coterie.index.candidates import (
    FAN,
    MARGIN,
    PATIENCE,
    Candidates,
    chance_worth_reading,
    portions,
    promising_rows,
)
from coterie.index.cells import Cells, make_cells, nearest_cells
from coterie.index.checks import checked_ids, checked_pairs
from coterie.index.codes import Products, padded_codes, quantise
from coterie.index.graph import ALL_PAIRS_ROWS_MAX, K_MAX, graph_recall, neighbour_graph
from coterie.index.kernels import fill_lists, offer, offer_to_found, renumber, reversed_lists
from coterie.index.results import last_of_each
from coterie.index.snapshot import Layout, damaged, open_snapshot, read_arrays, write_arrays, write_snapshot
from coterie.index.ticks import Tick, no_tick, part_of
from coterie.index.workers import share

_KIND = "graph"
_REBUILT_SHARE = 0.5
"""Share of new rows from which building anew is cheaper, and the cells are made for what is there."""

_OUTGROWN = 2
"""How many times the rows that its cells were made for a graph may hold."""

_OFFERED_AT_ONCE = 1_024
_ASKING_AT_ONCE = 8_192

_SLICE_SHARE = 0.3
"""Share of the rows below which a slice is searched by itself: most of its rows would be short of neighbours."""


class LivingGraph:
    """Nearest neighbours of vectors under int64 ids, kept up as they come and go. Thread-safe; one change at a time.

    Deterministic: the same calls in the same order give the same graph.

    Args:
        dim: length of the vectors.
        k: neighbours that are kept right.
        slack: neighbours kept beyond k, that removals may use up.
        seed: of the training of the cells.

    Raises:
        InvalidError: k or slack out of range.
    """

    def __init__(self, dim: int, k: int = 30, *, slack: int = 10, seed: int = 0) -> None:
        if k < 1 or slack < 0 or k + slack > K_MAX:
            message = f"k is {k} and slack {slack}, use k from 1 and slack from 0, together up to {K_MAX}"
            raise InvalidError(message, field="k")
        self.dim, self.k, self.slack, self.seed = dim, k, slack, seed
        self._lock = threading.RLock()
        self._clear()

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self) -> NDArray[np.int64]:
        """The ids held, int64[n], in the order in which they came."""
        with self._lock:
            return self._ids.copy()

    def vectors(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The vectors of these ids, float32[n, dim].

        Raises:
            InvalidError: an id is not held.
        """
        with self._lock:
            return self._vectors[self._places(checked_ids(ids))].astype(np.float32)

    def add(self, ids: ArrayLike, vectors: ArrayLike, *, tick: Tick | None = None) -> None:
        """Add vectors under their ids, replacing those that are there; of an id given twice the last one counts.

        Args:
            ids: int64[n], not negative.
            vectors: float32[n, dim], unit rows; kept as float16.
            tick: told the finished share; may raise, and the graph is then without the new rows.

        Raises:
            InvalidError: wrong shapes, a negative id, or a row that is not finite and of length 1.
        """
        numbers, rows = checked_pairs(ids, vectors, self.dim)
        kept = last_of_each(numbers)
        numbers, halves = numbers[kept], rows[kept].astype(np.float16)
        if not len(numbers):
            return
        with self._lock:
            keep = ~np.isin(self._ids, numbers)
            if len(numbers) > _REBUILT_SHARE * keep.sum():
                every = np.concatenate((self._ids[keep], numbers)), np.concatenate((self._vectors[keep], halves))
                self._build(*every, tick or no_tick)
                return
            self.remove(numbers)
            before = len(self._ids)
            try:
                self._insert(numbers, halves, tick or no_tick)
            except BaseException:
                # Half-made lists would pass for whole ones.
                self._drop(np.arange(len(self._ids)) < before)
                self._replenish()
                raise

    def remove(self, ids: ArrayLike) -> int:
        """Remove ids; those that are not there are ignored. Returns how many were removed."""
        gone = checked_ids(ids)
        with self._lock:
            keep = ~np.isin(self._ids, gone)
            removed = len(keep) - int(keep.sum())
            if removed == len(keep):
                self._clear()
            elif removed:
                self._drop(keep)
                self._replenish()
            return removed

    def graph(
        self, ids: ArrayLike | None = None, k: int | None = None, *, tick: Tick | None = None
    ) -> tuple[NDArray[np.int64], NeighbourGraph]:
        """The graph of all rows or of some: their ids, int64[m], and neighbours among them, in that order.

        A slice keeps of every list what lies in it; only rows that have too few left are searched again, among the
        rows of the slice.

        Args:
            ids: the slice, in any order, each once; None for all.
            k: neighbours a row, at most the graph's own k.

        Raises:
            InvalidError: an id is not held or given twice, or k is out of range.
        """
        wanted = self.k if k is None else k
        if not 1 <= wanted <= self.k:
            raise InvalidError(f"k is {wanted}, the graph keeps 1 to {self.k}", field="k")
        with self._lock:
            if ids is None:
                return self._ids.copy(), _as_graph(self._rows, self._likeness, wanted)
            numbers = checked_ids(ids)
            places = self._places(numbers)
            if len(np.unique(places)) < len(places):
                raise InvalidError("an id of the slice is given twice", field="ids")
            few = max(ALL_PAIRS_ROWS_MAX, _SLICE_SHARE * len(self._ids))
            if len(places) < len(self._ids) and len(places) <= few:
                vectors = self._vectors[places].astype(np.float32)
                return numbers, neighbour_graph(vectors, wanted, seed=self.seed, progress=tick)
            return numbers, self._slice(places, wanted, tick or no_tick)

    def recall(self, *, sample: int = 500) -> float:
        """The share of the true k nearest neighbours that the graph holds, on a sample of rows."""
        with self._lock:
            graph = _as_graph(self._rows, self._likeness, self.k)
            vectors = self._vectors.astype(np.float32)
        return graph_recall(graph, vectors, sample=sample, seed=self.seed)

    def save(self, path: Path, *, last_vector: int, last_erasure: int) -> None:
        """Write a snapshot in one step; other calls wait.

        Args:
            path: the file; its folder is created.
            last_vector, last_erasure: how far the store's sequences are contained, for replay after `load`.

        Raises:
            UnavailableError: it cannot be written; the old file is still there.
        """
        with self._lock:
            held = self._cells
            arrays = {name: getattr(self, f"_{name}") for name in _layout(0, 0, 0)}
            arrays |= {} if held is None else {name: getattr(held, name) for name in _cells_layout(0, 0, 0, 0)}
            header = {
                **self._identity(),
                "rows": len(self._ids),
                "cells": None if held is None else [len(held.of), held.count, held.axes.shape[1]],
                "last_vector": last_vector,
                "last_erasure": last_erasure,
            }
            write_snapshot(path, header, lambda write: write_arrays(write, arrays.values()))

    @classmethod
    def load(
        cls, path: Path, dim: int, k: int = 30, *, slack: int = 10, seed: int = 0
    ) -> tuple["LivingGraph", int, int]:
        """Read a snapshot: (graph, last_vector, last_erasure).

        Raises:
            UnavailableError: missing, damaged, or of another dim, k, slack or seed; build the graph anew.
            InvalidError: k or slack out of range.
        """
        graph = cls(dim, k, slack=slack, seed=seed)
        with open_snapshot(path) as (header, payload):
            identity = graph._identity()
            if {name: header.get(name) for name in identity} != identity:
                raise damaged(path, f"it holds another graph than one of {identity}")
            cells = header["cells"]
            layout = _layout(header["rows"], dim, k + slack, with_cells=cells is not None)
            cells_layout = {} if cells is None else _cells_layout(dim, *cells)
            arrays = read_arrays(payload, layout | cells_layout, path)
            _check_numbers(arrays, path)
            for name in layout:
                setattr(graph, f"_{name}", arrays[name])
            if cells is not None:
                graph._cells = Cells(**{name: arrays[name] for name in cells_layout})
            return graph, int(header["last_vector"]), int(header["last_erasure"])

    def _identity(self) -> dict[str, Any]:
        """What a snapshot has to agree in."""
        return {"kind": _KIND, "dim": self.dim, "k": self.k, "slack": self.slack, "seed": self.seed}

    def _clear(self) -> None:
        width = self.k + self.slack
        self._ids = np.empty(0, np.int64)
        self._vectors = np.empty((0, self.dim), np.float16)
        self._codes = np.empty((0, self.dim), np.int8)
        self._scale = np.empty(0, np.float32)
        self._rows = np.empty((0, width), np.int32)
        self._likeness = np.empty((0, width), np.float32)
        # Nearer than this a row knows every neighbour it has; -inf where it knows all rows.
        self._known = np.empty(0, np.float32)
        self._cell = np.empty(0, np.int32)
        self._cells: Cells | None = None
        self._order: NDArray[np.int64] | None = None

    def _build(self, ids: NDArray[np.int64], vectors: NDArray[np.float16], tick: Tick) -> None:
        rows = vectors.astype(np.float32)
        graph = neighbour_graph(rows, self.k + self.slack, seed=self.seed, progress=tick)
        codes, scale = quantise(rows)
        self._cells, self._cell = None, np.empty(0, np.int32)
        if len(ids) > ALL_PAIRS_ROWS_MAX:
            self._cells = make_cells(rows, codes, self.seed)
            self._cell = self._cells.of
        self._ids, self._order = ids, None
        self._vectors, self._codes, self._scale = vectors, codes, scale
        self._rows = graph.neighbours
        self._likeness = np.where(graph.neighbours < 0, np.float32(-np.inf), graph.similarities)
        self._known = self._likeness[:, -1].copy()

    def _insert(self, ids: NDArray[np.int64], vectors: NDArray[np.float16], tick: Tick) -> None:
        """Search the new rows, then offer them to the old ones."""
        before, count, width = len(self._ids), len(ids), self.k + self.slack
        new_codes, new_scale = quantise(vectors.astype(np.float32))
        vectors = np.concatenate((self._vectors, vectors))
        codes = np.concatenate((self._codes, new_codes))
        cells, cell = self._with_cells_of(vectors, codes)
        scale = np.concatenate((self._scale, new_scale))
        rows = np.concatenate((self._rows, np.full((count, width), -1, np.int32)))
        likeness = np.concatenate((self._likeness, np.full((count, width), -np.inf, np.float32)))
        known = np.concatenate((self._known, np.full(count, -np.inf, np.float32)))
        # From here on all arrays are of one length, whatever is raised.
        self._ids, self._order = np.concatenate((self._ids, ids)), None
        self._vectors, self._codes, self._scale = vectors, codes, scale
        self._rows, self._likeness, self._known = rows, likeness, known
        self._cells, self._cell = cells, cell
        new = np.arange(before, before + count, dtype=np.int32)
        self._search(new, part_of(tick, 0.0, 0.5))
        self._offer_to_old(new, part_of(tick, 0.5, 0.5))

    def _with_cells_of(
        self, vectors: NDArray[np.float16], codes: NDArray[np.int8]
    ) -> tuple[Cells | None, NDArray[np.int32]]:
        """The cells, and that of each row, once the rows that follow those held are there; new ones if outgrown."""
        outgrown = ALL_PAIRS_ROWS_MAX if self._cells is None else _OUTGROWN * len(self._cells.of)
        if len(codes) > outgrown:
            cells = make_cells(vectors.astype(np.float32), codes, self.seed)
            return cells, cells.of
        if self._cells is None:
            return None, self._cell
        arrived = nearest_cells(codes[len(self._ids) :], self._cells.mean_codes, self._cells.mean_scale, 1)[:, 0]
        return self._cells, np.concatenate((self._cell, arrived))

    def _search(self, asking: NDArray[np.int32], tick: Tick) -> None:
        """Fill the lists of these rows anew, from all rows."""
        width = self.k + self.slack
        candidates = Candidates(self._codes, self._scale, asking, min(width + MARGIN, len(self._ids)))
        self._find(candidates, np.arange(len(self._ids), dtype=np.int32), width, self._rows, tick)
        share(
            fill_lists,
            len(asking),
            (self._vectors.view(np.uint16), asking, candidates.rows, asking),
            (self._rows, self._likeness),
        )
        # Beyond the last of a full list there may be others; a list with room names every row there is.
        self._known[asking] = self._likeness[asking, -1]

    def _find(
        self, candidates: Candidates, held: NDArray[np.int32], k: int, graph: NDArray[np.int32], tick: Tick
    ) -> None:
        """Fill candidates from the held rows; `graph` has the lists of all rows, naming no others."""
        if self._cells is None:
            tick(0.0)
            candidates.compare(np.arange(len(candidates.asking), dtype=np.int32), held)
            return
        spread = self._cells.spread(self._vectors[candidates.asking].astype(np.float32))
        candidates.search(self._cells, self._members(held), spread, k, graph, tick)

    def _offer_to_old(self, new: NDArray[np.int32], tick: Tick) -> None:
        """Put the new rows into the lists of the rows to which they are nearer than what those hold.

        A row is offered the new rows of the cells that it would read if it were searched now, and those that have
        found it themselves, or a neighbour of it.
        """
        first_new = int(new[0])
        if self._cells is None:
            self._offer(np.arange(first_new, dtype=np.int32), new, tick)
            return
        arrived = self._members(new)
        chance = chance_worth_reading(self.k, len(self._ids))
        for some, tick_part in portions(first_new, tick):
            coded = self._codes[some], self._scale[some]
            spread = self._cells.spread(self._vectors[some].astype(np.float32))
            last = self._likeness[some, self.k - 1]
            reading = promising_rows(self._cells, coded, spread, last, None, chance)
            for cell, at in enumerate(reading):
                tick_part(cell / len(reading))
                if len(at) and len(arrived[cell]):
                    self._offer(some[at], arrived[cell])
        tick(1.0)
        backward = reversed_lists(self._rows, FAN)
        fixed = (self._codes, self._scale, self._vectors.view(np.uint16), backward, first_new, PATIENCE)
        offer_to_found(*fixed, self._rows, self._likeness, self._known)

    def _offer(self, asking: NDArray[np.int32], offered: NDArray[np.int32], tick: Tick = no_tick) -> None:
        """Offer every one of these rows to the lists of the others."""
        products, vectors = Products(), self._vectors.view(np.uint16)
        for first in range(0, len(offered), _OFFERED_AT_ONCE):
            tick(first / len(offered))
            some_offered = offered[first : first + _OFFERED_AT_ONCE]
            codes = padded_codes(self._codes[some_offered])
            for start in range(0, len(asking), _ASKING_AT_ONCE):
                some = asking[start : start + _ASKING_AT_ONCE]
                block = products.block(padded_codes(self._codes[some]), codes)
                fixed = (block, vectors, some_offered, self._scale, some)
                share(offer, len(some), fixed, (self._rows, self._likeness, self._known))

    def _drop(self, keep: NDArray[np.bool_]) -> None:
        """Take rows out: the arrays close up, and the lists lose them."""
        number = np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int32)
        share(renumber, len(keep), (number,), (self._rows, self._likeness))
        self._ids, self._order = self._ids[keep], None
        left = len(self._ids)
        for name in ("_vectors", "_codes", "_scale", "_rows", "_likeness", "_known"):
            setattr(self, name, getattr(self, name)[keep])
        if self._cells is not None:
            self._cell = self._cell[keep]
            if left <= ALL_PAIRS_ROWS_MAX:
                self._cells, self._cell = None, np.empty(0, np.int32)
        # Of rows that name all others nothing is nearer than what they know.
        self._known[(self._rows >= 0).sum(axis=1) >= left - 1] = -np.inf

    def _replenish(self) -> None:
        """Search the rows that have lost more than their slack."""
        wanted = min(self.k, len(self._ids) - 1)
        if wanted > 0:
            short = np.flatnonzero(self._rows[:, wanted - 1] < 0).astype(np.int32)
            if len(short):
                self._search(short, no_tick)

    def _slice(self, places: NDArray[np.int64], k: int, tick: Tick) -> NeighbourGraph:
        number = np.full(len(self._ids), -1, np.int32)
        number[places] = np.arange(len(places), dtype=np.int32)
        rows, likeness = self._rows[places], self._likeness[places]
        share(renumber, len(places), (number,), (rows, likeness))
        short = np.flatnonzero(rows[:, k - 1] < 0).astype(np.int32)
        if len(short):
            asking = places[short].astype(np.int32)
            candidates = Candidates(self._codes, self._scale, asking, min(k + MARGIN, len(places)))
            inside = np.where((self._rows >= 0) & (number[:, None] >= 0) & (number[self._rows] >= 0), self._rows, -1)
            self._find(candidates, np.sort(places).astype(np.int32), k, inside, tick)
            vectors = self._vectors.view(np.uint16)
            share(fill_lists, len(short), (vectors, asking, candidates.rows, short), (rows, likeness))
            rows[short] = np.where(rows[short] >= 0, number[rows[short]], -1)
        return _as_graph(rows, likeness, k)

    def _members(self, held: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        """The held rows of each cell."""
        assert self._cells is not None, "only a graph with cells is searched by them"
        cell = self._cell[held]
        order = np.argsort(cell, kind="stable")
        return np.split(held[order], np.cumsum(np.bincount(cell, minlength=self._cells.count))[:-1])

    def _places(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        if self._order is None:
            self._order = np.argsort(self._ids, kind="stable")
        at = np.searchsorted(self._ids[self._order], ids)
        places = self._order[np.minimum(at, len(self._ids) - 1)] if len(self._ids) else np.empty(0, np.int64)
        if len(places) < len(ids) or not np.array_equal(self._ids[places], ids):
            raise InvalidError("the slice holds an id that the graph does not", field="ids")
        return places


def _layout(n: int, dim: int, width: int, *, with_cells: bool = False) -> Layout:
    """The arrays of a graph of n rows, in a snapshot."""
    return {
        "ids": (np.int64, (n,)),
        "vectors": (np.float16, (n, dim)),
        "codes": (np.int8, (n, dim)),
        "scale": (np.float32, (n,)),
        "rows": (np.int32, (n, width)),
        "likeness": (np.float32, (n, width)),
        "known": (np.float32, (n,)),
        "cell": (np.int32, (n if with_cells else 0,)),
    }


def _cells_layout(dim: int, made_for: int, count: int, axes: int) -> Layout:
    """The arrays of cells made for so many rows, in a snapshot."""
    return {
        "of": (np.int32, (made_for,)),
        "size": (np.int64, (count,)),
        "mean_codes": (np.int8, (count, dim)),
        "mean_scale": (np.float32, (count,)),
        "axes": (np.float32, (dim, axes)),
        "variance": (np.float32, (axes + 1,)),
    }


def _check_numbers(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """Refuse numbers that name no row or no cell: compiled code would follow them out of its arrays."""
    ids, rows = arrays["ids"], arrays["rows"]
    if len(np.unique(ids)) < len(ids) or (ids < 0).any():
        raise damaged(path, "an id is given twice, or negative")
    if ((rows < -1) | (rows >= len(ids))).any():
        raise damaged(path, "a list names a row that is not there")
    if ((arrays["cell"] < 0) | (arrays["cell"] >= len(arrays.get("size", ())))).any():
        raise damaged(path, "a row lies in a cell that is not there")


def _as_graph(rows: NDArray[np.int32], likeness: NDArray[np.float32], k: int) -> NeighbourGraph:
    neighbours = rows[:, :k].copy()
    similarities = np.where(neighbours < 0, np.float32(-1.0), likeness[:, :k].clip(-1.0, 1.0))
    return NeighbourGraph(neighbours, similarities.astype(np.float32))
