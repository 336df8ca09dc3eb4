"""Step 4, second half: drop the principals that break a pool, and say whether what is left holds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.exchangeability import Exchangeability, account_sums, exchangeability
from coterie.detection.items import Items, runs
from coterie.detection.kernels import variance_above_diagonal

ITEMS_MIN = 5
"""Distinct texts a principal needs in a pool to be tested at all."""

SHARE_MIN, SHARE_MAX = 0.25, 5.0
"""A member's distinct texts over the members' median: who was dealt a slice has a slice, not a handful and not the
bulk, beside which the others hardly count."""

APART = ((0.75, 2.0), (0.9, 3.5))
"""When a principal asks something else: its similarity to the others is below this share of theirs to each other, by
this many standard errors. A gross difference needs little proof, a small one much."""

SUBJECT = ((1.5, 1.3), (1.25, 2.5))
"""When it has a subject of its own: its similarity within is above this multiple of the others' similarity, by this
many standard errors. Whoever sent too little to tell is let go rather than accused."""

PAIR_SAMPLE_MAX = 400

REPEATS_MAX = 0.3
"""Share of a member's texts that other members sent too; beyond it, what it has is not a slice of its own."""

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
    """Drop, one in ten at a time, the principal that fits least, until all fit or half are gone.

    Cost: linear in the pool, times the rounds (at most about twenty).

    Args:
        chosen: int64[n], item numbers, sorted.
    """
    chosen = _testable(items, _without_repeaters(items, chosen))
    principals, number, _ = runs(items.principal[chosen])
    kept = np.ones(len(principals), bool)
    least = max(3, int(np.ceil(KEPT_SHARE_MIN * len(principals))))
    settled = False
    sums = _Sums(items.vectors[items.text[chosen]], number, len(principals)) if len(principals) >= 3 else None
    while sums is not None and not settled:
        misfit = sums.misfit(kept)
        settled = not misfit.any()
        left = int(kept.sum())
        if settled or left <= least:
            break
        order = np.argsort(-misfit, kind="stable")[: max(1, min(left // 10, left - least))]
        kept[order[misfit[order] > 0]] = False
    chosen = _with_a_slice(items, chosen[kept[number]])
    principals, number, _ = runs(items.principal[chosen])
    result = exchangeability(items.vectors[items.text[chosen]], number) if len(principals) >= 3 else None
    return Pool(chosen, principals, settled, result)


def _testable(
    items: Items, chosen: NDArray[np.int64], *, least: float = ITEMS_MIN, most: float = np.inf
) -> NDArray[np.int64]:
    """The items of principals that have so many of them."""
    _, number, counts = runs(items.principal[chosen])
    return chosen[((counts >= least) & (counts <= most))[number]]


def _without_repeaters(items: Items, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without principals most of whose texts others sent too: a crowd with a common source inside a larger pool."""
    _, text, holders = np.unique(items.text[chosen], return_inverse=True, return_counts=True)
    _, number, counts = runs(items.principal[chosen])
    repeated = np.bincount(number, weights=holders[text] > 1, minlength=len(counts))
    # Where they are many the pool is such a crowd, and is to be called one.
    kept = repeated <= REPEATS_MAX * counts
    return chosen[kept[number]] if 3 * kept.sum() >= 2 * len(kept) else chosen


def _with_a_slice(items: Items, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without principals whose part is small or huge beside the others'."""
    counts = runs(items.principal[chosen])[2]
    usual = float(np.median(counts)) if len(counts) else 0.0
    return _testable(items, chosen, least=SHARE_MIN * usual, most=SHARE_MAX * usual)


class _Sums:
    """What of a pool does not change while principals are dropped from it.

    Args:
        vectors: float32[n, dim], its queries.
        number: int64[n], the principal of each, numbered from 0 without gaps.
    """

    def __init__(self, vectors: NDArray[np.float32], number: NDArray[np.int64], principals: int) -> None:
        self._vectors = vectors
        self._number = number
        self._sums, squares, self._counts = account_sums(vectors, number, principals)
        self._own = np.einsum("ij,ij->i", self._sums, self._sums)
        pairs = np.maximum(self._counts * (self._counts - 1), 1)
        self._within = (self._own - squares) / pairs
        self._to_own = np.einsum("ij,ij->i", vectors, self._sums.astype(np.float32)[number])
        self._pair_variance = _pair_variance(vectors)

    def misfit(self, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """How clearly each principal is not one of the others kept, in standard errors; 0 for those that fit."""
        number, counts, principals = self._number, self._counts, len(self._counts)
        kept_counts = np.where(kept, counts, 0.0)
        total, n = self._sums[kept].sum(axis=0), kept_counts.sum()
        own_sum, squares_sum = self._own[kept].sum(), (kept_counts**2).sum()
        rest_pairs = np.maximum((n - counts) ** 2 - (squares_sum - counts**2), 1)
        rest = (total @ total - 2 * (self._sums @ total) + self._own - (own_sum - self._own)) / rest_pairs
        # Each query's mean similarity to the others' queries: its spread gives the error of its account's mean.
        towards = (self._vectors @ total.astype(np.float32) - self._to_own) / np.maximum(n - counts, 1)[number]
        across = np.bincount(number, weights=towards, minlength=principals) / counts
        spread = np.bincount(number, weights=(towards - across[number]) ** 2, minlength=principals) / (counts - 1)
        error = np.sqrt(np.maximum(spread, 1e-12) / counts)
        below = (rest - across) / error
        apart = [np.where(across < share * rest, below - z, 0.0) for share, z in APART]
        # Variance of a U-statistic of degree two (Hoeffding 1948): 4 zeta_1 / n + 2 zeta_2 / n(n - 1).
        usual = float(np.average(spread[kept], weights=counts[kept]))
        variance = 4 * usual / counts + 2 * self._pair_variance / (counts * (counts - 1))
        subject_error = np.sqrt(np.maximum(variance, 1e-12))
        above = (self._within - rest) / subject_error
        subject = [np.where(self._within > multiple * rest, above - z, 0.0) for multiple, z in SUBJECT]
        misfit: NDArray[np.float64] = np.max([*apart, *subject, np.zeros(principals)], axis=0)
        return np.where(kept, misfit, 0.0)


def _pair_variance(vectors: NDArray[np.float32]) -> float:
    """Variance of the similarity of two queries of the pool, from an even sample of them."""
    sample = vectors[:: max(1, len(vectors) // PAIR_SAMPLE_MAX)]
    return float(variance_above_diagonal(sample @ sample.T))
