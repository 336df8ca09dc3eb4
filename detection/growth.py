"""Step 3 again: from a part of a campaign to all of it.

Behind cover, or where a list is diverse, links show only a part of the accounts. What the part asks tells where to look
for the rest: queries whose neighbours lie in the pool, by accounts that have more of them than others have by chance.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special

from coterie.detection.items import Items, Neighbourhood, items_with, neighbours_of, shared_part

ROUNDS_MAX = 3
NEAR_MIN = 2
"""Neighbours in the pool, one way or the other, that bring a query near it."""

QUERIES_MIN = 3
JOIN_RATE = 0.001
"""Chance with which an account that has no part in it would have as many queries near the pool (Poisson)."""


def grow(items: Items, around: Neighbourhood, chosen: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Ever larger pools, each with those who joined it, until nobody does. Cost: linear in neighbours a round.

    Of each round two pools: what lies near the pool, and all that its accounts ask near each other in the whole window.

    Args:
        around: the neighbourhood of all items.
    """
    volume = items.volume
    pool = chosen
    for _ in range(ROUNDS_MAX):
        before = len(pool)
        near = _near(items, pool)
        count = np.bincount(items.principal[near], minlength=items.principals)
        members = np.zeros(items.principals, bool)
        members[items.principal[pool]] = True
        # The rate of those who have no part in it: of the others, taken as if all of them were innocent.
        rate = count[~members].sum() / max(1.0, volume[~members].sum())
        joins = (count >= QUERIES_MIN) & (
            special.pdtrc(np.maximum(count - 1, 0), np.maximum(rate, 1e-9) * volume) < JOIN_RATE
        )
        joins |= members
        grown = np.union1d(near[joins[items.principal[near]]], pool)
        if len(grown) > len(pool):
            yield grown
        members = np.unique(items.principal[grown])
        pool = np.union1d(grown, shared_part(items, around, members))
        if len(pool) > len(grown):
            yield pool
        if len(pool) == before:
            return


def _near(items: Items, pool: NDArray[np.int64]) -> NDArray[np.int64]:
    """The items whose text has at least `NEAR_MIN` neighbours among the pool's texts, as or of them."""
    texts = np.unique(items.text[pool])
    met = np.concatenate([neighbours_of(side, texts) for side in (items.adjacency, items.reverse)])
    near, count = np.unique(met, return_counts=True)
    return items_with(items, near[count >= NEAR_MIN])
