"""Step 4, second half: drop the accounts that break a pool, and say whether what is left holds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.exchangeability import Exchangeability, account_sums, exchangeability
from coterie.detection.items import Items

ITEMS_MIN = 5
"""Distinct texts a principal needs in a pool to be tested at all."""

MEMBERSHIP_MIN = 0.6
"""A member's similarity to the others, over theirs to each other, below which it asks something else."""

KEPT_SHARE_MIN = 0.5
"""Share of a candidate's testable principals that trimming must leave: whoever may drop all but three finds three."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A trimmed pool and what the test gives; `result` is None where too little is left to test."""

    items: NDArray[np.int64]
    principals: NDArray[np.int32]
    candidates: int
    result: Exchangeability | None


def trim(items: Items, chosen: NDArray[np.int64]) -> Pool:
    """Drop, one in twenty at a time, the principal that breaks exchangeability most, until the pool holds.

    Cost: linear in the pool, and in its principals times the rounds.
    """
    principals, number, counts = np.unique(items.principal[chosen], return_inverse=True, return_counts=True)
    testable = counts >= ITEMS_MIN
    chosen = chosen[testable[number]]
    principals, number = np.unique(items.principal[chosen], return_inverse=True)
    start = len(principals)
    if start < 3:
        return Pool(chosen, principals, start, None)
    sums, squares, counts_f = account_sums(items.vectors[items.text[chosen]], number, start)
    kept = np.ones(start, bool)
    least = max(3, int(np.ceil(KEPT_SHARE_MIN * start)))
    while kept.sum() > least:
        worst = _outsiders(sums[kept], squares[kept], counts_f[kept])
        if not worst.any():
            break
        order = np.argsort(-worst)
        drop = order[: max(1, min(len(order) // 20, int(kept.sum()) - least))]
        drop = drop[worst[drop] > 0]
        kept[np.flatnonzero(kept)[drop]] = False
    stays = kept[number]
    chosen = chosen[stays]
    principals, number = np.unique(items.principal[chosen], return_inverse=True)
    result = exchangeability(items.vectors[items.text[chosen]], number)
    return Pool(chosen, principals, start, result)


def _outsiders(
    sums: NDArray[np.float64], squares: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far each principal is from being one of the others; 0 for those that may stay."""
    total, n = sums.sum(axis=0), counts.sum()
    own = np.einsum("ij,ij->i", sums, sums)
    across = (sums @ total - own) / (counts * (n - counts))
    rest_sum = total @ total - 2 * (sums @ total) + own
    rest = (rest_sum - (own.sum() - own)) / np.maximum((n - counts) ** 2 - ((counts**2).sum() - counts**2), 1)
    within = (own - squares) / np.maximum(counts * (counts - 1), 1)
    spread = np.sqrt(np.maximum(squares / counts, 1e-9))
    # Standard errors of a mean of pair similarities, pairs taken as independent: a yardstick, not a p-value.
    noise = spread * 0.1
    apart = MEMBERSHIP_MIN * rest - across - 1.0 * noise / np.sqrt(counts)
    subject = (within - rest) - 0.25 * np.maximum(rest, 0.0) - 3.0 * noise / counts
    return np.maximum(np.maximum(apart, subject), 0.0)
