"""The null of exchangeability as something to look at: C/W under random shufflings of who asked.

The tests themselves draw nothing: `exchangeability` holds C/W against innocent pools, `permutation_z` has the moments
over all shufflings in closed form. This is for a picture.
"""

import numpy as np
from numpy.typing import NDArray

from coterie.detection.exchangeability import account_sums


def shuffled_ratios(
    vectors: NDArray[np.float32], account: NDArray[np.int64], shuffles: int, seed: int
) -> NDArray[np.float64]:
    """float64[shuffles], C/W with the account labels shuffled. Cost: shuffles times queries times dimension.

    0 where W is not positive, as in `exchangeability`.

    Args:
        vectors: float32[n, dim], centred, one row per account and distinct text.
        account: int64[n], numbered from 0 without gaps; at least two, one of them with two queries.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(account).astype(np.float64)
    bounds = np.concatenate(([0], np.cumsum(counts[:-1]))).astype(np.int64)
    squares = float(np.einsum("ij,ij->", vectors, vectors, dtype=np.float64))
    total = vectors.sum(axis=0, dtype=np.float64)
    within_pairs = (counts * (counts - 1)).sum()
    across_pairs = counts.sum() ** 2 - (counts**2).sum()
    ratios = np.empty(shuffles)
    for number in range(shuffles):
        sums = np.add.reduceat(vectors[rng.permutation(len(vectors))], bounds, axis=0).astype(np.float64)
        own = np.einsum("ij,ij->", sums, sums)
        within, across = (own - squares) / within_pairs, (total @ total - own) / across_pairs
        ratios[number] = across / within if within > 1e-9 else 0.0
    return ratios


def alikeness(
    vectors: NDArray[np.float32], account: NDArray[np.int64], accounts: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean similarity of each account's queries among themselves, and with the others': float64[accounts] each.

    NaN where there are no such pairs.
    """
    sums, squares, counts = account_sums(vectors, account, accounts)
    own = np.einsum("ij,ij->i", sums, sums)
    others = sums @ sums.sum(axis=0) - own
    with np.errstate(invalid="ignore", divide="ignore"):
        return (own - squares) / (counts * (counts - 1)), others / (counts * (counts.sum() - counts))
