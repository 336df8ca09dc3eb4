"""Step 4, second half: drop the principals that break a pool, and say whether what is left holds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.exchangeability import Exchangeability, exchangeability_of_sums
from coterie.detection.items import Items
from coterie.detection.kernels import compiled, compiled_in_any_order, runs_of, sums_by_owner, variance_above_diagonal

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

_Trimmed = tuple[
    NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], bool, NDArray[np.float64], NDArray[np.float64]
]


@dataclass(frozen=True, slots=True)
class Pool:
    """A trimmed pool and what the test gives.

    Attributes:
        items: int64[...], sorted.
        principals: int32[...], sorted.
        counts: int64[...], items of each of them.
        settled: nobody that ought to be dropped is left.
        result: None where too little is left to test.
    """

    items: NDArray[np.int64]
    principals: NDArray[np.int32]
    counts: NDArray[np.int64]
    settled: bool
    result: Exchangeability | None


def trim(items: Items, chosen: NDArray[np.int64]) -> Pool:
    """Drop, one in ten at a time, the principal that fits least, until all fit or half are gone.

    Cost: linear in the pool, times the rounds (at most about twenty).

    Args:
        chosen: int64[n], item numbers, sorted.
    """
    trimmed = _trimmed(items.vectors, items.principal, items.text, chosen)
    left, principals, counts, settled, sums, squares = trimmed
    return Pool(left, principals, counts, settled, exchangeability_of_sums(sums, squares, counts))


@compiled
def _trimmed(
    vectors: NDArray[np.float32], principal: NDArray[np.int32], text: NDArray[np.int32], chosen: NDArray[np.int64]
) -> _Trimmed:
    """The attributes of the `Pool`, and for its test the sums and squares of `sums_by_owner`."""
    chosen = chosen[_testable(principal[chosen], text[chosen])]
    principals, number, counts = runs_of(principal[chosen])
    sums, squares = np.zeros((0, vectors.shape[1])), np.zeros(0)
    if len(principals) < 3:
        return chosen, principals, counts, False, sums, squares
    queries = vectors[text[chosen]]
    sums, squares = sums_by_owner(queries, number, len(principals))
    kept = np.ones(len(principals), np.bool_)
    settled = drop_misfits(queries, counts, sums, squares, _pair_variance(queries), kept)
    # Whose part is small or huge beside the others' has no slice.
    usual = np.median(counts[kept])
    kept &= (counts >= SHARE_MIN * usual) & (counts <= SHARE_MAX * usual)
    return chosen[kept[number]], principals[kept], counts[kept], settled, sums[kept], squares[kept]


@compiled
def _testable(principal: NDArray[np.int32], text: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which items are of principals that have enough of them, most of them texts that no other in the pool sent.

    Who repeats others is of a crowd with a common source inside a larger pool.
    """
    shared = np.zeros(len(text), np.bool_)
    order = np.argsort(text)
    for place in range(1, len(text)):
        if text[order[place]] == text[order[place - 1]]:
            shared[order[place]] = shared[order[place - 1]] = True
    enough, own = np.empty(len(text), np.bool_), np.empty(len(text), np.bool_)
    first = with_own = everybody = 0
    while first < len(text):
        end = first
        while end < len(text) and principal[end] == principal[first]:
            end += 1
        enough[first:end] = end - first >= ITEMS_MIN
        own[first:end] = shared[first:end].sum() <= REPEATS_MAX * (end - first)
        with_own += own[first]
        everybody += 1
        first = end
    # Where they are many the pool is such a crowd, and is to be called one.
    return enough & own if 3 * with_own >= 2 * everybody else enough


@compiled
def _pair_variance(vectors: NDArray[np.float32]) -> float:
    """Variance of the similarity of two queries of the pool, from an even sample of them."""
    sample = np.ascontiguousarray(vectors[:: max(1, len(vectors) // PAIR_SAMPLE_MAX)])
    return variance_above_diagonal(np.dot(sample, sample.T))


@compiled
def drop_misfits(
    vectors: NDArray[np.float32],
    counts: NDArray[np.int64],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    pair_variance: float,
    kept: NDArray[np.bool_],
) -> bool:
    """Take out of `kept`, in place, those who do not fit; says whether all who are left do.

    Args:
        vectors: float32[n, dim], the queries of a pool: those of the first principal, those of the second, and so on.
        counts: int64[principals], queries of each, two or more.
        sums: float64[principals, dim], their sums.
        squares: float64[principals], sums of their squared lengths.
        pair_variance: of the similarity of two queries.
        kept: bool[principals].
    """
    own = (sums**2).sum(axis=1)
    within = (own - squares) / (counts * (counts - 1))
    least = max(3, int(np.ceil(KEPT_SHARE_MIN * len(counts))))
    while True:
        misfit = _misfit(vectors, counts, sums, own, within, pair_variance, kept)
        left = kept.sum()
        settled = misfit.max() <= 0
        if settled or left <= least:
            return bool(settled)
        worst = np.argsort(-misfit, kind="mergesort")[: max(1, min(left // 10, left - least))]
        kept[worst] &= misfit[worst] <= 0


@compiled
def _misfit(
    vectors: NDArray[np.float32],
    counts: NDArray[np.int64],
    sums: NDArray[np.float64],
    own: NDArray[np.float64],
    within: NDArray[np.float64],
    pair_variance: float,
    kept: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """How clearly each principal is not one of the others kept, in standard errors; 0 for those that fit."""
    total = np.zeros(sums.shape[1])
    for one in np.flatnonzero(kept):
        total += sums[one]
    n, own_sum, pairs_sum = counts[kept].sum(), own[kept].sum(), (counts[kept] ** 2).sum()
    rest, across, spread = np.zeros(len(counts)), np.zeros(len(counts)), np.zeros(len(counts))
    ends = np.cumsum(counts)
    for one in np.flatnonzero(kept):
        others = total - sums[one]
        rest_pairs = max((n - counts[one]) ** 2 - (pairs_sum - counts[one] ** 2), 1)
        rest[one] = ((others**2).sum() - (own_sum - own[one])) / rest_pairs
        # Each query's mean similarity to the others' queries: its spread gives the error of its account's mean.
        towards = _products(vectors[ends[one] - counts[one] : ends[one]], others / max(n - counts[one], 1))
        across[one] = towards.mean()
        spread[one] = ((towards - across[one]) ** 2).sum() / (counts[one] - 1)
    below = (rest - across) / np.sqrt(np.maximum(spread, 1e-12) / counts)
    # Variance of a U-statistic of degree two (Hoeffding 1948): 4 zeta_1 / n + 2 zeta_2 / n(n - 1).
    usual = (spread * counts)[kept].sum() / n
    variance = 4 * usual / counts + 2 * pair_variance / (counts * (counts - 1))
    above = (within - rest) / np.sqrt(np.maximum(variance, 1e-12))
    misfit = np.zeros(len(counts))
    for share, errors in APART:
        misfit = np.where(across < share * rest, np.maximum(misfit, below - errors), misfit)
    for multiple, errors in SUBJECT:
        misfit = np.where(within > multiple * rest, np.maximum(misfit, above - errors), misfit)
    return np.where(kept, misfit, 0.0)


@compiled_in_any_order
def _products(vectors: NDArray[np.float32], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[n]: the inner product of each row with one vector."""
    products = np.empty(len(vectors))
    for row in range(len(vectors)):
        product = 0.0
        for column in range(len(other)):
            product += vectors[row, column] * other[column]
        products[row] = product
    return products
