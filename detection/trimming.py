"""Step 4, second half: drop the principals that break a pool, and say whether what is left holds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.exchangeability import Exchangeability, account_sums, exchangeability
from coterie.detection.items import Items

ITEMS_MIN = 5
"""Distinct texts a principal needs in a pool to be tested at all."""

SHARE_MIN = 0.25
"""A member's distinct texts over the members' median: who was dealt a slice has a slice, not a handful."""

APART = ((0.75, 2.0), (0.9, 3.5))
"""When a principal asks something else: its similarity to the others is below this share of theirs to each other, by
this many standard errors. A gross difference needs little proof, a small one much."""

SUBJECT = ((1.5, 1.3), (1.25, 2.5))
"""When it has a subject of its own: its similarity within is above this multiple of the others' similarity, by this
many standard errors. Whoever sent too little to tell is let go rather than accused."""

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
    pair_variance = _pair_variance(items.vectors[items.text[chosen]])
    while not settled and start >= 3:
        principals, number = np.unique(items.principal[chosen], return_inverse=True)
        misfit = _misfit(items.vectors[items.text[chosen]], number, len(principals), pair_variance)
        settled = not misfit.any()
        if settled or len(principals) <= least:
            break
        order = np.argsort(-misfit, kind="stable")[: max(1, min(len(principals) // 20, len(principals) - least))]
        chosen = chosen[~np.isin(number, order[misfit[order] > 0])]
    chosen = _with_a_slice(items, chosen)
    principals, number = np.unique(items.principal[chosen], return_inverse=True)
    result = exchangeability(items.vectors[items.text[chosen]], number) if len(principals) >= 3 else None
    return Pool(chosen, principals, settled, result)


def _testable(items: Items, chosen: NDArray[np.int64], *, least: float = ITEMS_MIN) -> NDArray[np.int64]:
    """The items of principals that have at least that many of them."""
    _, number, counts = np.unique(items.principal[chosen], return_inverse=True, return_counts=True)
    return chosen[(counts >= least)[number]]


def _with_a_slice(items: Items, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without principals whose part is small beside the others'."""
    counts = np.unique(items.principal[chosen], return_counts=True)[1]
    return _testable(items, chosen, least=SHARE_MIN * float(np.median(counts))) if len(counts) else chosen


def _misfit(
    vectors: NDArray[np.float32], number: NDArray[np.int64], principals: int, pair_variance: float
) -> NDArray[np.float64]:
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
    below = (rest - across) / error
    apart = [np.where(across < share * rest, below - z, 0.0) for share, z in APART]
    within = (own - squares) / (counts * (counts - 1))
    # Variance of a U-statistic of degree two (Hoeffding 1948): 4 zeta_1 / n + 2 zeta_2 / n(n - 1).
    usual = float(np.average(spread, weights=counts))
    subject_error = np.sqrt(4 * usual / counts + 2 * pair_variance / (counts * (counts - 1)))
    above = (within - rest) / subject_error
    subject = [np.where(within > multiple * rest, above - z, 0.0) for multiple, z in SUBJECT]
    misfit: NDArray[np.float64] = np.max([*apart, *subject, np.zeros(principals)], axis=0)
    return misfit


def _pair_variance(vectors: NDArray[np.float32]) -> float:
    """Variance of the similarity of two queries of the pool, from an even sample of them."""
    sample = vectors[:: max(1, len(vectors) // PAIR_SAMPLE_MAX)]
    pairs = (sample @ sample.T)[np.triu_indices(len(sample), 1)]
    return float(pairs.var()) if len(pairs) else 0.0
