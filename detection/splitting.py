"""Is a pool one list, or two that lie side by side?"""

import numpy as np
from numpy.typing import NDArray

from coterie.detection.exchangeability import account_sums
from coterie.detection.items import Items

BETWEEN_MAX = 0.7
"""Similarity between two halves of a pool, over the geometric mean of those within them, below which they are two."""

HALF_MIN = 3


def halves(items: Items, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The items of the two campaigns that a pool is made of; None where it is one.

    Principals are parted by the sign of the leading eigenvector of their centred similarities (spectral bisection).
    Cost: cubic in the pool's principals, of which there are at most a few thousand; linear in its items.
    """
    principals, number = np.unique(items.principal[chosen], return_inverse=True)
    if len(principals) < 2 * HALF_MIN:
        return None
    sums, squares, counts = account_sums(items.vectors[items.text[chosen]], number, len(principals))
    similarity = (sums @ sums.T) / np.outer(counts, counts)
    own = (np.diag(similarity) * counts**2 - squares) / np.maximum(counts * (counts - 1), 1)
    np.fill_diagonal(similarity, own)
    centred = similarity - similarity.mean(axis=0) - similarity.mean(axis=1)[:, None] + similarity.mean()
    side = np.linalg.eigh(centred)[1][:, -1] > 0
    if min(side.sum(), (~side).sum()) < HALF_MIN:
        return None
    first, second = _across(similarity, side), _across(similarity, ~side)
    between = float(similarity[np.ix_(side, ~side)].mean())
    if min(first, second) <= 0 or between >= BETWEEN_MAX * float(np.sqrt(first * second)):
        return None
    return chosen[side[number]], chosen[~side[number]]


def _across(similarity: NDArray[np.float64], side: NDArray[np.bool_]) -> float:
    """Mean similarity of different principals of one side."""
    block = similarity[np.ix_(side, side)]
    n = len(block)
    return float((block.sum() - np.trace(block)) / (n * (n - 1)))
