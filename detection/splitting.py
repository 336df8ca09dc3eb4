"""Is a pool one list, or two that lie side by side?"""

import numpy as np
from numpy.typing import NDArray

from coterie.detection.exchangeability import account_sums
from coterie.detection.items import Items

BETWEEN_MAX = 0.7
"""Similarity between two halves of a pool, over the geometric mean of those within them, below which they are two."""

HALF_MIN = 3


def halves(
    items: Items, chosen: NDArray[np.int64], *, between_max: float = BETWEEN_MAX
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The items of the two campaigns that a pool is made of; None where it is one.

    Principals are parted at the first principal component of their mean queries. Cost: linear in the pool's items and
    principals, cubic in the dimension only.
    """
    principals, number = np.unique(items.principal[chosen], return_inverse=True)
    if len(principals) < 2 * HALF_MIN:
        return None
    sums, _, counts = account_sums(items.vectors[items.text[chosen]], number, len(principals))
    means = sums / counts[:, None]
    centred = means - means.mean(axis=0)
    side = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1] > 0
    if min(side.sum(), (~side).sum()) < HALF_MIN:
        return None
    first, second = _across(means[side]), _across(means[~side])
    between = float(means[side].mean(axis=0) @ means[~side].mean(axis=0))
    if min(first, second) <= 0 or between >= between_max * float(np.sqrt(first * second)):
        return None
    return chosen[side[number]], chosen[~side[number]]


def _across(means: NDArray[np.float64]) -> float:
    """Mean similarity of different principals, in closed form."""
    n = len(means)
    total = means.sum(axis=0)
    return float((total @ total - np.einsum("ij,ij->", means, means)) / (n * (n - 1)))
