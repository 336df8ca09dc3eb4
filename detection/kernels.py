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


@compiled
def count_neighbours(
    starts: NDArray[np.int32],
    neighbours: NDArray[np.int32],
    distinct: NDArray[np.int32],
    place: NDArray[np.int64],
    owner: NDArray[np.int64],
    order: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each item of a pool, how many neighbours of its text are in the pool: its owner's, and anybody's.

    A neighbour counts once for each owner that has it; the text itself never. Cost: the neighbours of the pool's
    texts, times the logarithm of how many these are.

    Args:
        starts, neighbours: the CSR arrays of the neighbours of all texts, each neighbour once.
        distinct: int32[d], the pool's texts, sorted.
        place: int64[n], where in `distinct` the text of each item is.
        owner: int64[n], of each item.
        order: int64[n], the items by owner.
    """
    d, n = len(distinct), len(place)
    holders = np.zeros(d, np.int64)
    for item in range(n):
        holders[place[item]] += 1
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


def warm_up_kernels() -> None:
    """Load or compile all of them, by running each on next to nothing."""
    none = np.zeros(0, np.int64)
    count_neighbours(np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32), none, none, none)
    have_in_common(np.zeros(1, np.int64), none, none, none, 1, 1.0)
