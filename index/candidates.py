"""The search for nearest neighbours among codes: what is read, in which order, and when it is enough.

A row's list is filled in three ways. Reading whole cells finds what lies near in space; joining the neighbours of its
neighbours finds the rest of a dense place at once, however many cells it is cut into; reading the further cells that
still promise something finds what has no structure to follow.
"""

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from coterie.index.cells import Cells, nearest_cells
from coterie.index.codes import Products, padded_scale
from coterie.index.kernels import join_neighbours, reversed_lists, take_best
from coterie.index.ticks import Tick, no_tick, part_of
from coterie.index.workers import share

MARGIN = 4
"""Candidates kept beyond k until they are scored exactly: rounding swaps neighbours that are nearly equally far."""

_HELD_AT_ONCE = 1_024
_ASKING_AT_ONCE = 2_048
PLANNED_AT_ONCE = 65_536
_JOINED_AT_ONCE = 8_192
_PROBES = 5
FAN = 12
PATIENCE = 8
_CELLS_A_TICK = 8
_WORTH, _WORTH_ROWS, _WORTH_GROWTH, _WORTH_MIN = 2.5, 200_000, 0.7, 0.5
"""A cell is read where the chance that a member enters a list of k among n rows is above 2.5 (n / 200,000)^.7 k / n.
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
        self._products = Products()

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
        probed = self.read_nearest(cells, members, part_of(tick, 0.0, 0.3))
        self.join(graph, part_of(tick, 0.3, 0.1))
        self.read_promising(cells, members, probed, spread, k, part_of(tick, 0.4, 0.5))
        self.join(graph, part_of(tick, 0.9, 0.1))

    def compare(self, at: NDArray[np.int32], held: NDArray[np.int32], tick: Tick = no_tick) -> None:
        """Offer every held row to the lists at these places: len(at) * len(held) products."""
        for first in range(0, len(held), _HELD_AT_ONCE):
            tick(first / len(held))
            offered = held[first : first + _HELD_AT_ONCE]
            codes, scale = self._codes[offered], padded_scale(self._scale[offered])
            for start in range(0, len(at), _ASKING_AT_ONCE):
                some = at[start : start + _ASKING_AT_ONCE]
                asking = self.asking[some]
                block = self._products.block(self._codes[asking], codes)
                share(take_best, len(some), (block, offered, scale, asking, some), (self.rows, self.likeness))

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
            promising = promising_rows(
                self._products,
                cells,
                (self._codes[asking], self._scale[asking]),
                spread[at],
                self.likeness[at, min(k, self.rows.shape[1]) - 1] * self._scale[asking],
                probed[at],
                chance,
            )
            for cell, asked in enumerate(promising):
                _tick_now_and_then(tick_part, cell, cells.count)
                if len(asked):
                    self.compare(at[asked], members[cell])

    def join(self, graph: NDArray[np.int32] | None, tick: Tick) -> None:
        """Offer each asking row the neighbours of its neighbours, as the lists stand now."""
        lists = self.rows if graph is None else graph
        fan = min(FAN, lists.shape[1], self.rows.shape[1])
        forward = lists[:, :fan].copy()
        backward = reversed_lists(forward, fan)
        fixed = (self._codes, self._scale, forward, backward, fan, PATIENCE)
        for at, _ in portions(len(self.asking), tick, _JOINED_AT_ONCE):
            share(join_neighbours, len(at), (*fixed, self.asking[at], at), (self.rows, self.likeness))


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
    products: Products,
    cells: Cells,
    coded: tuple[NDArray[np.int8], NDArray[np.float32]],
    spread: NDArray[np.float32],
    last: NDArray[np.float32],
    probed: NDArray[np.int32] | None,
    chance: float,
) -> list[NDArray[np.int64]]:
    """For each cell, which of q rows should read it: int64[...], places in [0, q).

    Args:
        coded: codes int8[q, dim] and scale float32[q] of the rows.
        spread: float32[q], as `Cells.spread` gives it.
        last: float32[q], cosine of each row's last wanted neighbour, -inf where it has too few.
        probed: int32[q, p], cells to leave out, if any.
        chance: least chance of one member to come before the last that makes a cell worth reading.
    """
    codes, scale = coded
    block = products.block(cells.mean_codes, codes)
    if probed is not None:
        block[probed.T, np.arange(len(codes))] = -(2**30)
    reach = NormalDist().inv_cdf(1.0 - chance)
    enough = (last - reach * spread) / scale
    return [np.flatnonzero(block[cell, : len(codes)] * cells.mean_scale[cell] > enough) for cell in range(cells.count)]
