"""The inner loops of the neighbour graph, compiled.

They hold no lock of the interpreter and write only the rows [low, high) they are given, so that threads share the work
without a threading layer and the result does not depend on their number. Neighbour lists are kept best first:
`rows` int32[n, k], -1 where empty; `likeness` float32[n, k], -inf where empty.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from coterie.index.lanes import BYTES, LANES, exceeding, whole_product

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile with numba, cached on disk."""
    return cast(
        _Function, numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz", "nnan"})(function)
    )


@compiled
def row_hashes(words: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """uint64[n]: a hash of each row of float32[n, w], given by its bits; equal rows have equal ones (after FNV-1a)."""
    n, width = words.shape
    hashes = np.empty(n, np.uint64)
    for i in range(n):
        value = np.uint64(14695981039346656037)
        for j in range(width):
            word = words[i, j]
            if word == np.uint32(0x80000000):  # minus zero is equal to zero
                word = np.uint32(0)
            value = (value ^ np.uint64(word)) * np.uint64(1099511628211)
            value ^= value >> np.uint64(29)
        hashes[i] = value
    return hashes


@compiled
def expand_groups(
    neighbours: NDArray[np.int64],
    similarities: NDArray[np.float32],
    group: NDArray[np.int64],
    by_group: NDArray[np.int64],
    starts: NDArray[np.int64],
    low: int,
    high: int,
    rows: NDArray[np.int64],
    likeness: NDArray[np.float32],
) -> None:
    """From neighbours of groups of equal rows to those of rows: a row's own group first, then the others in turn.

    Args:
        neighbours, similarities: int64[g, k], float32[g, k]; -1 pads at the end.
        group: int64[n], of each row; by_group: int64[n], rows by group; starts: int64[g + 1], where each group begins.
    """
    k = rows.shape[1]
    for i in range(low, high):
        count = 0
        for place in range(-1, neighbours.shape[1]):
            of = group[i] if place < 0 else neighbours[group[i], place]
            if of < 0 or count == k:
                break
            value = np.float32(1.0) if place < 0 else similarities[group[i], place]
            for at in range(starts[of], starts[of + 1]):
                row = by_group[at]
                if row == i:
                    continue
                if count == k:
                    break
                spot = count
                while spot > 0 and likeness[i, spot - 1] == value and rows[i, spot - 1] > row:
                    rows[i, spot] = rows[i, spot - 1]
                    spot -= 1
                rows[i, spot] = row
                likeness[i, count] = value
                count += 1


@compiled
def insert(rows: NDArray[np.int32], likeness: NDArray[np.float32], of: int, row: int, value: np.float32) -> None:
    """Put a neighbour into the list of row `of`, whose last it must be better than."""
    place = rows.shape[1] - 1
    while place > 0 and likeness[of, place - 1] < value:
        likeness[of, place] = likeness[of, place - 1]
        rows[of, place] = rows[of, place - 1]
        place -= 1
    likeness[of, place] = value
    rows[of, place] = row


@compiled
def holds(rows: NDArray[np.int32], of: int, row: int) -> bool:
    """Whether the list of row `of` names this row."""
    found = False
    for place in range(rows.shape[1]):
        found |= rows[of, place] == row
    return found


@compiled
def product(codes: NDArray[np.int8], i: int, j: int) -> int:
    """The inner product of two rows of codes."""
    end = codes.shape[1] - codes.shape[1] % BYTES
    total = int(whole_product(codes, i, j, end))
    for axis in range(end, codes.shape[1]):
        total += int(codes[i, axis]) * int(codes[j, axis])
    return total


@compiled
def take_best(
    products: NDArray[Any],
    held: NDArray[np.int32],
    scale: NDArray[np.float32],
    own: NDArray[np.int32],
    at: NDArray[np.int32],
    rows: NDArray[np.int32],
    likeness: NDArray[np.float32],
) -> None:
    """Offer a block of products to the lists of the rows that asked.

    Args:
        products: int32 or float32[>= q, >= len(scale)], of each asking row's code with each held row's.
        held: int32[h], the rows of the columns.
        scale: float32[h padded to a multiple of LANES], what a product of that column is worth.
        own: int32[q], the row that does not enter the list of each, and `at`, where that list lies.
    """
    last = rows.shape[1] - 1
    for i in range(len(at)):
        of = at[i]
        worst = likeness[of, last]
        for start in range(0, len(scale), LANES):
            better, j = exceeding(products, scale, i, start, worst), start
            while better and j < len(held):
                value = np.float32(products[i, j]) * scale[j]
                if better & 1 and value > worst and held[j] != own[i] and not holds(rows, of, held[j]):
                    insert(rows, likeness, of, held[j], value)
                    worst = likeness[of, last]
                better >>= 1
                j += 1


@compiled
def take_above(
    products: NDArray[Any],
    held: NDArray[np.int32],
    scale: NDArray[np.float32],
    asking: NDArray[np.int32],
    enough: NDArray[np.float32],
    left_out: NDArray[np.int32],
    pairs: NDArray[np.int32],
) -> int:
    """Write down which asking row and held row are worth more than enough to the former; how many pairs there are.

    Args:
        products, held, scale: as `take_best` takes them.
        asking, enough: int32[q], float32[q].
        left_out: int32[q, l], held rows that do not count.
        pairs: int32[2, >= q * h], where they are written: asking rows, held rows.
    """
    count = 0
    for i in range(len(asking)):
        for start in range(0, len(scale), LANES):
            better, j = exceeding(products, scale, i, start, enough[i]), start
            while better and j < len(held):
                if better & 1 and not holds(left_out, i, held[j]):
                    pairs[0, count] = asking[i]
                    pairs[1, count] = held[j]
                    count += 1
                better >>= 1
                j += 1
    return count


@compiled
def reversed_lists(rows: NDArray[np.int32], fan: int) -> NDArray[np.int32]:
    """int32[n, fan]: for each row, rows that have it among their neighbours, those that have it first first."""
    n, k = rows.shape
    backward = np.full((n, fan), -1, np.int32)
    count = np.zeros(n, np.int32)
    for place in range(k):
        for i in range(n):
            j = rows[i, place]
            if j >= 0 and count[j] < fan:
                backward[j, count[j]] = i
                count[j] += 1
    return backward


@compiled
def join_neighbours(
    codes: NDArray[np.int8],
    scale: NDArray[np.float32],
    forward: NDArray[np.int32],
    backward: NDArray[np.int32],
    fan: int,
    patience: int,
    asking: NDArray[np.int32],
    at: NDArray[np.int32],
    low: int,
    high: int,
    rows: NDArray[np.int32],
    likeness: NDArray[np.float32],
    gained: NDArray[np.bool_],
) -> None:
    """Offer the neighbours of its neighbours to each asking row (Dong, Moses, Li 2011).

    Args:
        codes, scale: int8[n, dim] and float32[n], the quantised vectors.
        forward, backward: int32[n, >= fan], the lists as they were and turned round; only `fan` of each are followed.
        patience: neighbours in a row that may bring nothing before the rest are taken to bring nothing either.
        asking, at: int32[q], rows and where their lists lie; only those at [low, high) are worked on, and only their
            lists change.
        gained: bool[q], whether a row's list has changed.
    """
    last = rows.shape[1] - 1
    seen = np.full(len(codes), -1, np.int32)
    own = np.empty(fan, np.int32)
    for a in range(low, high):
        i, of = asking[a], at[a]
        seen[i] = a
        for place in range(last + 1):
            if rows[of, place] >= 0:
                seen[rows[of, place]] = a
        worst = likeness[of, last]
        own[:] = rows[of, :fan]
        fruitless = 0
        for first in range(2 * fan):
            via = backward[i, first // 2] if first % 2 else own[first // 2]
            if via < 0:
                continue
            fruitless += 1
            for second in range(-1, 2 * fan):
                if second < 0:
                    j = via
                elif second < fan:
                    j = forward[via, second]
                else:
                    j = backward[via, second - fan]
                if j < 0 or seen[j] == a:
                    continue
                seen[j] = a
                value = np.float32(product(codes, i, j)) * scale[j]
                if value > worst:
                    insert(rows, likeness, of, j, value)
                    worst = likeness[of, last]
                    fruitless = 0
                    gained[a] = True
            if fruitless >= patience:
                break


@compiled
def score_exactly(
    vectors: NDArray[np.float32],
    order: NDArray[np.int64],
    low: int,
    high: int,
    rows: NDArray[np.int32],
    likeness: NDArray[np.float32],
) -> None:
    """Replace likeness by the inner product of the vectors, best first, in the lists of rows [low, high).

    Args:
        vectors: float32[n, dim].
        order: int64[n], where each row's vector lies; of two equally near the one that lies first is first.
    """
    k, dim = rows.shape[1], vectors.shape[1]
    for i in range(low, high):
        for place in range(k):
            j = rows[i, place]
            if j < 0:
                break
            value = np.float32(0.0)
            for axis in range(dim):
                value += vectors[order[i], axis] * vectors[order[j], axis]
            at = place
            while at > 0 and (
                likeness[i, at - 1] < value or (likeness[i, at - 1] == value and order[rows[i, at - 1]] > order[j])
            ):
                likeness[i, at] = likeness[i, at - 1]
                rows[i, at] = rows[i, at - 1]
                at -= 1
            likeness[i, at] = value
            rows[i, at] = j


_HALF_TO_SINGLE = np.float32(2.0**112)
_ROUNDING_STEPS = np.float32(1.25)
"""Rounding to codes changes a cosine by less than this many steps of both together, four standard deviations and more:
each value is off by at most half a step, and the other's values have squares that add up to one."""


@compiled
def decode(vectors: NDArray[np.uint16], row: int, words: NDArray[np.uint32]) -> None:
    """The bits of a float16 row as those of float32, for numba knows no float16."""
    for axis in range(vectors.shape[1]):
        half = np.uint32(vectors[row, axis])
        words[axis] = ((half & np.uint32(0x8000)) << np.uint32(16)) | ((half & np.uint32(0x7FFF)) << np.uint32(13))
    # The exponent counts from 15 in the one and from 127 in the other.
    values = words.view(np.float32)
    for axis in range(len(values)):
        values[axis] *= _HALF_TO_SINGLE


@compiled
def inner_product(left: NDArray[np.float32], right: NDArray[np.float32]) -> np.float32:
    """The inner product of two decoded rows."""
    value = np.float32(0.0)
    for axis in range(len(left)):
        value += left[axis] * right[axis]
    return value


@compiled
def fill_lists(
    vectors: NDArray[np.uint16],
    asking: NDArray[np.int32],
    found: NDArray[np.int32],
    at: NDArray[np.int32],
    low: int,
    high: int,
    rows: NDArray[np.int32],
    likeness: NDArray[np.float32],
) -> None:
    """Make the lists at `at` of what was found for the asking rows, scored by the vectors; ties by row.

    Args:
        vectors: the bits of float16[n, dim].
        asking, at: int32[q]; found: int32[q, w], -1 pads at the end.
    """
    k, dim = rows.shape[1], vectors.shape[1]
    own, other = np.empty(dim, np.uint32), np.empty(dim, np.uint32)
    for a in range(low, high):
        of = at[a]
        rows[of, :] = -1
        likeness[of, :] = -np.inf
        decode(vectors, asking[a], own)
        for place in range(found.shape[1]):
            j = found[a, place]
            if j < 0:
                break
            decode(vectors, j, other)
            value = inner_product(own.view(np.float32), other.view(np.float32))
            if value < likeness[of, k - 1] or (value == likeness[of, k - 1] and j > rows[of, k - 1]):
                continue
            spot = k - 1
            while spot > 0 and (
                likeness[of, spot - 1] < value or (likeness[of, spot - 1] == value and rows[of, spot - 1] > j)
            ):
                likeness[of, spot] = likeness[of, spot - 1]
                rows[of, spot] = rows[of, spot - 1]
                spot -= 1
            likeness[of, spot] = value
            rows[of, spot] = j


@compiled
def accept(
    rows: NDArray[np.int32],
    likeness: NDArray[np.float32],
    known: NDArray[np.float32],
    of: int,
    row: int,
    value: np.float32,
) -> bool:
    """Put a row into a list if it is nearer than the last that the list can vouch for. Whether it was."""
    last = rows.shape[1] - 1
    accepted = bool(value > known[of] and value > likeness[of, last]) and not holds(rows, of, row)
    if accepted:
        dropped = likeness[of, last]
        insert(rows, likeness, of, row, value)
        # What fell out is the nearest that the list does not name.
        known[of] = max(known[of], dropped)
    return accepted


@compiled
def promises(product: float, scale: np.float32, other_scale: np.float32, worst: np.float32) -> bool:
    """Whether rounding may hide that two rows with this product of codes are nearer than `worst`."""
    return bool(np.float32(product) * scale * other_scale > worst - _ROUNDING_STEPS * (scale + other_scale))


@compiled
def offer(
    products: NDArray[Any],
    vectors: NDArray[np.uint16],
    offered: NDArray[np.int32],
    scale: NDArray[np.float32],
    asking: NDArray[np.int32],
    low: int,
    high: int,
    rows: NDArray[np.int32],
    likeness: NDArray[np.float32],
    known: NDArray[np.float32],
) -> None:
    """Offer a block of rows to finished lists: what rounding cannot rule out is scored by the vectors."""
    last, dim = rows.shape[1] - 1, vectors.shape[1]
    own, other = np.empty(dim, np.uint32), np.empty(dim, np.uint32)
    for a in range(low, high):
        i = asking[a]
        decoded = False
        for b in range(len(offered)):
            j = offered[b]
            worst = max(known[i], likeness[i, last])
            if promises(products[a, b], scale[i], scale[j], worst) and i != j:
                if not decoded:
                    decode(vectors, i, own)
                    decoded = True
                decode(vectors, j, other)
                value = inner_product(own.view(np.float32), other.view(np.float32))
                accept(rows, likeness, known, i, j, value)


@compiled
def offer_to_found(
    codes: NDArray[np.int8],
    scale: NDArray[np.float32],
    vectors: NDArray[np.uint16],
    backward: NDArray[np.int32],
    first: int,
    patience: int,
    rows: NDArray[np.int32],
    likeness: NDArray[np.float32],
    known: NDArray[np.float32],
) -> None:
    """Offer each row from `first` on to the earlier rows in its own list, and to those rows' neighbours.

    In a dense place a row's list is full of some neighbours while others, which it does not name, have room for it.

    Args:
        codes, scale, vectors: of all rows; vectors are the bits of float16.
        backward: int32[n, fan], the lists turned round.
        patience: neighbours in a row that may bring nothing before the rest are taken to bring nothing either.
    """
    (n, dim), (width, fan) = codes.shape, (rows.shape[1], backward.shape[1])
    seen = np.full(n, -1, np.int32)
    own, other = np.empty(dim, np.uint32), np.empty(dim, np.uint32)
    for i in range(first, n):
        decode(vectors, i, own)
        for place in range(width):
            j = rows[i, place]
            if 0 <= j < first:
                seen[j] = i
                accept(rows, likeness, known, j, i, likeness[i, place])
        fruitless = 0
        for place in range(width):
            via = rows[i, place]
            if via < 0 or fruitless >= patience:
                break
            fruitless += 1
            for second in range(width + fan):
                j = rows[via, second] if second < width else backward[via, second - width]
                if j < 0 or j >= first or seen[j] == i:
                    continue
                seen[j] = i
                if promises(float(product(codes, i, j)), scale[i], scale[j], max(known[j], likeness[j, width - 1])):
                    decode(vectors, j, other)
                    value = inner_product(own.view(np.float32), other.view(np.float32))
                    if accept(rows, likeness, known, j, i, value):
                        fruitless = 0


@compiled
def renumber(
    number: NDArray[np.int32], low: int, high: int, rows: NDArray[np.int32], likeness: NDArray[np.float32]
) -> None:
    """Give the rows that lists name their new numbers; those numbered -1 leave, and the lists close up."""
    k = rows.shape[1]
    for i in range(low, high):
        kept = 0
        for place in range(k):
            j = rows[i, place]
            if j >= 0 and number[j] >= 0:
                rows[i, kept] = number[j]
                likeness[i, kept] = likeness[i, place]
                kept += 1
        for place in range(kept, k):
            rows[i, place] = -1
            likeness[i, place] = -np.inf
