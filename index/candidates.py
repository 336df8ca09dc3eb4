"""The search for nearest neighbours among codes: what is read, in which order, and when it is enough.

A row's list is filled in three ways. Reading the nearest cells finds what lies near in space; reading the further cells
that still promise something finds what has no structure to follow; joining the neighbours of its neighbours finds the
rest of a dense place at once, however many cells it is cut into.
"""

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from coterie.index.cells import Cells, nearest_cells
from coterie.index.kernels import join_neighbours, reversed_lists
from coterie.index.ticks import Tick, part_of
from coterie.index.tiles import offer_tiles, pairs_above, tiles_of
from coterie.index.workers import share

MARGIN = 4
"""Candidates kept beyond k until they are scored exactly: rounding swaps neighbours that are nearly equally far."""

PLANNED_AT_ONCE = 262_144
_JOINED_AT_ONCE = 65_536
_PROBES = 3
FAN = 12
PATIENCE = 8
_PATIENCE_FIRST, _PATIENCE_THEN = 3, 24
_CELLS_A_TICK = 8
_WORTH, _WORTH_ROWS, _WORTH_GROWTH, _WORTH_MIN = 3.5, 200_000, 0.7, 0.5
"""A cell is read where the chance that a member enters a list of k among n rows is above 3.5 (n / 200,000)^.7 k / n.
The more rows there are the less is asked for: reading costs more, and finds the far neighbours of background."""


class Candidates:
    """Lists of nearest neighbours in the making, of some of the coded rows.

    Args:
        codes, scale: int8[n, dim], float32[n], all rows.
        asking: int32[q], the rows whose lists are made.
        k: length of the lists.

    Attributes:
        rows: int32[q, k], neighbours, best first; -1 where there is none yet.
        likeness: float32[q, k], their cosine divided by the asking row's scale; -inf where there is none.
    """

    def __init__(self, codes: NDArray[np.int8], scale: NDArray[np.float32], asking: NDArray[np.int32], k: int) -> None:
        self.asking = asking
        self.rows = np.full((len(asking), k), -1, np.int32)
        self.likeness = np.full((len(asking), k), -np.inf, np.float32)
        self._codes = codes
        self._scale = scale

    def search(
        self,
        cells: Cells,
        members: Sequence[NDArray[np.int32]],
        spread: NDArray[np.float32],
        k: int,
        graph: NDArray[np.int32] | None,
        tick: Tick,
    ) -> None:
        """Fill the lists from the members of the cells.

        Cost: O(q (sqrt(n) + rows read) dim), and at most O(q fan^2 dim) for joining.

        Args:
            members: int32[...], the rows of each cell that may be neighbours.
            spread: float32[q], as `Cells.spread` gives it.
            k: neighbours that will be wanted; the rest of the list is margin.
            graph: int32[n, l], lists of all rows; None where these are the ones being made.
        """
        probed = self.read_nearest(cells, members, part_of(tick, 0.0, 0.2))
        self.read_promising(cells, members, probed, spread, k, part_of(tick, 0.2, 0.7))
        self.join(graph, part_of(tick, 0.9, 0.1))

    def compare(self, at: NDArray[np.int32], held: NDArray[np.int32]) -> None:
        """Offer every held row to the lists at these places: len(at) * len(held) products."""
        asking = self.asking[at]
        tiles = tiles_of(held, self._codes, self._scale)
        offer_tiles(self._codes, asking, at, tiles, self.rows, self.likeness, own=asking)

    def read_nearest(self, cells: Cells, members: Sequence[NDArray[np.int32]], tick: Tick) -> NDArray[np.int32]:
        """Read each row's nearest cells; which they were, int32[q, probes]."""
        probes = min(_PROBES, cells.count)
        probed = np.empty((len(self.asking), probes), np.int32)
        for at, tick_part in portions(len(self.asking), tick):
            near = nearest_cells(self._codes[self.asking[at]], cells.mean_codes, cells.mean_scale, probes)
            probed[at] = near
            order = np.argsort(near.ravel(), kind="stable")
            ends = np.cumsum(np.bincount(near.ravel(), minlength=cells.count))
            for cell, asked in enumerate(np.split(order // probes, ends[:-1])):
                _tick_now_and_then(tick_part, cell, cells.count)
                if len(asked) and len(members[cell]):
                    self.compare(at[asked], members[cell])
        return probed

    def read_promising(
        self,
        cells: Cells,
        members: Sequence[NDArray[np.int32]],
        probed: NDArray[np.int32],
        spread: NDArray[np.float32],
        k: int,
        tick: Tick,
    ) -> None:
        """Read every further cell that is likely enough to better a row's first k neighbours.

        Args:
            probed: int32[q, p], cells that were read already.
        """
        chance = chance_worth_reading(k, sum(len(rows) for rows in members))
        for at, tick_part in portions(len(self.asking), tick):
            asking = self.asking[at]
            coded = self._codes[asking], self._scale[asking]
            last = self.likeness[at, min(k, self.rows.shape[1]) - 1] * coded[1]
            promising = promising_rows(cells, coded, spread[at], last, probed[at], chance)
            for cell, asked in enumerate(promising):
                _tick_now_and_then(tick_part, cell, cells.count)
                if len(asked) and len(members[cell]):
                    self.compare(at[asked], members[cell])

    def join(self, graph: NDArray[np.int32] | None, tick: Tick) -> None:
        """Offer each asking row the neighbours of its neighbours, as the lists stand now.

        Twice: briefly to every row, and at length to those to which that brought something. Most of background is
        spared the second.
        """
        every = np.arange(len(self.asking), dtype=np.int32)
        gained = self._join_some(every, _PATIENCE_FIRST, graph, part_of(tick, 0.0, 0.5))
        self._join_some(every[gained], _PATIENCE_THEN, graph, part_of(tick, 0.5, 0.5))

    def _join_some(
        self, at: NDArray[np.int32], patience: int, graph: NDArray[np.int32] | None, tick: Tick
    ) -> NDArray[np.bool_]:
        """The same for the lists at some places; bool[len(at)], which of them have changed."""
        gained = np.zeros(len(at), np.bool_)
        if not len(at):
            return gained
        lists = self.rows if graph is None else graph
        fan = min(FAN, lists.shape[1], self.rows.shape[1])
        forward = lists[:, :fan].copy()
        fixed = (self._codes, self._scale, forward, reversed_lists(forward, fan), fan, patience)
        for some, _ in portions(len(at), tick, _JOINED_AT_ONCE):
            lists_of = (self.asking[at[some]], at[some])
            changed = gained[some[0] : some[-1] + 1]
            share(join_neighbours, len(some), (*fixed, *lists_of), (self.rows, self.likeness, changed))
        return gained


def portions(count: int, tick: Tick, size: int | None = None) -> Iterator[tuple[NDArray[np.int32], Tick]]:
    """The numbers below `count`, so many at a time, telling how far it is; with a tick for the portion itself."""
    size = size or PLANNED_AT_ONCE
    for first in range(0, count, size):
        some = np.arange(first, min(first + size, count), dtype=np.int32)
        tick(first / count)
        yield some, part_of(tick, first / count, len(some) / count)


def _tick_now_and_then(tick: Tick, cell: int, cells: int) -> None:
    if cell % _CELLS_A_TICK == 0:
        tick(cell / cells)


def chance_worth_reading(k: int, n: int) -> float:
    """The least chance of a member to enter a list of k among n rows that makes its cell worth reading."""
    worth: float = max(_WORTH_MIN, _WORTH * (n / _WORTH_ROWS) ** _WORTH_GROWTH)
    return min(0.5, worth * k / max(1, n))


def promising_rows(
    cells: Cells,
    coded: tuple[NDArray[np.int8], NDArray[np.float32]],
    spread: NDArray[np.float32],
    last: NDArray[np.float32],
    probed: NDArray[np.int32] | None,
    chance: float,
) -> list[NDArray[np.int32]]:
    """For each cell, which of q rows should read it: int32[...], places in [0, q).

    Args:
        coded: codes int8[q, dim] and scale float32[q] of the rows.
        spread: float32[q], as `Cells.spread` gives it.
        last: float32[q], cosine of each row's last wanted neighbour, -inf where it has too few.
        probed: int32[q, p], cells to leave out, if any.
        chance: least chance of one member to come before the last that makes a cell worth reading.
    """
    codes, scale = coded
    enough = (last - NormalDist().inv_cdf(1.0 - chance) * spread) / scale
    tiles = tiles_of(np.arange(cells.count, dtype=np.int32), cells.mean_codes, cells.mean_scale)
    rows, cell = pairs_above(codes, enough.astype(np.float32), tiles, probed)
    return np.split(rows, np.searchsorted(cell, np.arange(1, cells.count)))
