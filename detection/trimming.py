"""Step 4, second half: drop the principals that break a pool, and say whether what is left holds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.exchangeability import Exchangeability, account_sums, exchangeability
from coterie.detection.items import Items

ITEMS_MIN = 5
"""Distinct texts a principal needs in a pool to be tested at all."""

APART_MAX = 0.75
"""A principal's similarity to the others, over theirs to each other, below which it may be asking something else."""

APART_Z = 2.0
"""Standard errors by which it must fall short of theirs to be dropped for it."""

SUBJECT_MIN = 1.25
"""A principal's similarity within, over the others' similarity, from which it may have a subject of its own."""

SUBJECT_Z = 3.0
PAIR_SAMPLE_MAX = 400

KEPT_SHARE_MIN = 0.5
"""Share of a candidate's testable principals that trimming must leave: whoever may drop all but three finds three."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A trimmed pool and what the test gives.

    Attributes:
        settled: nobody that ought to be dropped is left.
        result: None where too little is left to test.
    """

    items: NDArray[np.int64]
    principals: NDArray[np.int32]
    settled: bool
    result: Exchangeability | None


def trim(items: Items, chosen: NDArray[np.int64]) -> Pool:
    """Drop, one in twenty at a time, the principal that fits least, until all fit or half are gone.

    Cost: linear in the pool, times the rounds (at most about forty).
    """
    chosen = _testable(items, chosen)
    start = len(np.unique(items.principal[chosen]))
    least = max(3, int(np.ceil(KEPT_SHARE_MIN * start)))
    settled = False
    while not settled and start >= 3:
        principals, number = np.unique(items.principal[chosen], return_inverse=True)
        misfit = _misfit(items.vectors[items.text[chosen]], number, len(principals))
        settled = not misfit.any()
        if settled or len(principals) <= least:
            break
        order = np.argsort(-misfit, kind="stable")[: max(1, min(len(principals) // 20, len(principals) - least))]
        chosen = chosen[~np.isin(number, order[misfit[order] > 0])]
    principals, number = np.unique(items.principal[chosen], return_inverse=True)
    result = exchangeability(items.vectors[items.text[chosen]], number) if len(principals) >= 3 else None
    return Pool(chosen, principals, settled, result)


def _testable(items: Items, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    _, number, counts = np.unique(items.principal[chosen], return_inverse=True, return_counts=True)
    return chosen[(counts >= ITEMS_MIN)[number]]


def _misfit(vectors: NDArray[np.float32], number: NDArray[np.int64], principals: int) -> NDArray[np.float64]:
    """How clearly each principal is not one of the others, in standard errors; 0 for those that fit."""
    sums, squares, counts = account_sums(vectors, number, principals)
    total, n = sums.sum(axis=0), counts.sum()
    own = np.einsum("ij,ij->i", sums, sums)
    rest_pairs = np.maximum((n - counts) ** 2 - ((counts**2).sum() - counts**2), 1)
    rest = (total @ total - 2 * (sums @ total) + own - (own.sum() - own)) / rest_pairs
    # Each query's mean similarity to the others' queries: its spread gives the standard error of the account's mean.
    towards = (vectors @ total - np.einsum("ij,ij->i", vectors, sums[number])) / (n - counts)[number]
    across = np.bincount(number, weights=towards, minlength=principals) / counts
    spread = np.bincount(number, weights=(towards - across[number]) ** 2, minlength=principals) / (counts - 1)
    error = np.sqrt(np.maximum(spread, 1e-12) / counts)
    apart = np.where(across < APART_MAX * rest, (rest - across) / error - APART_Z, 0.0)
    within = (own - squares) / (counts * (counts - 1))
    # Variance of a U-statistic of degree two (Hoeffding 1948): 4 zeta_1 / n + 2 zeta_2 / n(n - 1).
    usual = float(np.average(spread, weights=counts))
    subject_error = np.sqrt(4 * usual / counts + 2 * _pair_variance(vectors) / (counts * (counts - 1)))
    subject = np.where(within > SUBJECT_MIN * rest, (within - rest) / subject_error - SUBJECT_Z, 0.0)
    return np.maximum(np.maximum(apart, subject), 0.0)


def _pair_variance(vectors: NDArray[np.float32]) -> float:
    """Variance of the similarity of two queries of the pool, from an even sample of them."""
    sample = vectors[:: max(1, len(vectors) // PAIR_SAMPLE_MAX)]
    pairs = (sample @ sample.T)[np.triu_indices(len(sample), 1)]
    return float(pairs.var())
