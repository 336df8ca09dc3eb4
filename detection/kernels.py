"""The inner loops of the tests of a pool, compiled. They hold no lock of the interpreter."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile with numba, cached on disk."""
    return cast(_Function, numba.njit(nogil=True, cache=True)(function))


def compiled_in_any_order(function: _Function) -> _Function:
    """Likewise, with sums taken in any order, so that the processor takes several terms at once."""
    return cast(_Function, numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})(function))


@compiled
def runs_of(values: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct ones of sorted values, which of them each is, and how often each comes."""
    n = len(values)
    number = np.empty(n, np.int64)
    distinct, sizes = np.empty(n, values.dtype), np.zeros(n, np.int64)
    found = 0
    for place in range(n):
        if place == 0 or values[place] != values[place - 1]:
            distinct[found] = values[place]
            found += 1
        number[place] = found - 1
        sizes[found - 1] += 1
    return distinct[:found].copy(), number, sizes[:found].copy()


@compiled
def numbered(values: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct ones of some values, sorted; which of them each is, and how often each comes."""
    order = np.argsort(values)
    distinct, sorted_number, sizes = runs_of(values[order])
    number = np.empty(len(values), np.int64)
    number[order] = sorted_number
    return distinct, number, sizes


@compiled
def count_neighbours(
    starts: NDArray[np.int32],
    neighbours: NDArray[np.int32],
    text: NDArray[np.int32],
    owner: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each item of a pool, how many neighbours of its text are in the pool: its owner's, and anybody's.

    A neighbour counts once for each owner that has it; the text itself never. Cost: the neighbours of the pool's
    texts, times the logarithm of how many these are.

    Args:
        starts, neighbours: the CSR arrays of the neighbours of all texts, each neighbour once.
        text: int32[n], of each item.
        owner: int64[n], likewise.
    """
    distinct, place, holders = numbered(text)
    order = np.argsort(owner, kind="mergesort")
    d, n = len(distinct), len(place)
    reach = np.zeros(d + 1, np.int64)
    for row in range(d):
        reach[row + 1] = reach[row] + starts[distinct[row] + 1] - starts[distinct[row]]
    inside = np.empty(reach[d], np.int64)
    ends = np.empty(d, np.int64)
    everybody = np.zeros(d, np.int64)
    for row in range(d):
        end = reach[row]
        for slot in range(starts[distinct[row]], starts[distinct[row] + 1]):
            at = np.searchsorted(distinct, neighbours[slot])
            if at < d and distinct[at] == neighbours[slot] and at != row:
                inside[end] = at
                end += 1
                everybody[row] += holders[at]
        ends[row] = end
    own, of_all = np.zeros(n, np.int64), np.empty(n, np.int64)
    last_owner = np.full(d, -1, np.int64)
    first = 0
    while first < n:
        mine = owner[order[first]]
        end = first
        while end < n and owner[order[end]] == mine:
            last_owner[place[order[end]]] = mine
            end += 1
        for number in range(first, end):
            item = order[number]
            row = place[item]
            of_all[item] = everybody[row]
            for slot in range(reach[row], ends[row]):
                own[item] += last_owner[inside[slot]] == mine
        first = end
    return own, of_all


@compiled
def have_in_common(
    starts: NDArray[np.int64],
    words: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    least: int,
    share_min: float,
) -> NDArray[np.bool_]:
    """Which pairs of texts share that part of the words of the one with fewer, which must have at least so many.

    Args:
        starts, words: words[starts[t] : starts[t + 1]] are those of text t, sorted, each once.
    """
    found = np.zeros(len(first), np.bool_)
    for pair in range(len(first)):
        i, i_end = starts[first[pair]], starts[first[pair] + 1]
        j, j_end = starts[second[pair]], starts[second[pair] + 1]
        shorter = min(i_end - i, j_end - j)
        if shorter < least:
            continue
        common = 0
        while i < i_end and j < j_end:
            if words[i] == words[j]:
                common += 1
                i += 1
                j += 1
            elif words[i] < words[j]:
                i += 1
            else:
                j += 1
        found[pair] = common >= share_min * shorter
    return found


@compiled
def sums_inside(
    starts: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: NDArray[np.float64],
    rows: NDArray[np.int64],
    inside: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """float64[n]: sums of some rows of a CSR matrix over the columns that are inside."""
    sums = np.zeros(len(rows))
    for number in range(len(rows)):
        for slot in range(starts[rows[number]], starts[rows[number] + 1]):
            if inside[columns[slot]]:
                sums[number] += values[slot]
    return sums


@compiled_in_any_order
def sums_by_owner(
    vectors: NDArray[np.float32], owner: NDArray[np.int64], owners: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """float64[owners, dim]: sums of the rows of each owner; float64[owners]: sums of their squared lengths."""
    sums, squares = np.zeros((owners, vectors.shape[1])), np.zeros(owners)
    for row in range(len(vectors)):
        mine = owner[row]
        for column in range(vectors.shape[1]):
            sums[mine, column] += vectors[row, column]
        square = 0.0
        for column in range(vectors.shape[1]):
            square += np.float64(vectors[row, column]) ** 2
        squares[mine] += square
    return sums, squares


@compiled_in_any_order
def variance_above_diagonal(matrix: NDArray[np.float32]) -> float:
    """Variance of what stands above the diagonal of a square matrix; 0 where that is nothing."""
    n = len(matrix)
    if n < 2:
        return 0.0
    pairs = n * (n - 1) / 2
    total = 0.0
    for row in range(n):
        for column in range(row + 1, n):
            total += matrix[row, column]
    mean = total / pairs
    squares = 0.0
    for row in range(n):
        for column in range(row + 1, n):
            squares += (matrix[row, column] - mean) ** 2
    return squares / pairs
