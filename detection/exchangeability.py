"""Step 4: does knowing the account tell you about the query?

In organic traffic it does: people and apps have subjects and ways of asking. Accounts that were dealt slices of one
work list are interchangeable. For a pool of queries, W is the mean similarity of pairs within an account and C that of
pairs across accounts, self-pairs left out; both are closed forms of per-account sums (the terms of the unbiased squared
MMD, Gretton et al. 2012), so their cost is linear in the pool.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.kernels import compiled, sums_by_owner


@dataclass(frozen=True, slots=True)
class Exchangeability:
    """What the accounts of a pool have to do with its queries.

    Attributes:
        within: W, mean similarity of pairs within an account.
        across: C, mean similarity of pairs across accounts.
        ratio: C / W; 1 where accounts are interchangeable, 0 where W is not positive.
        ratio_low: its lower 95 % confidence limit, by the delete-one-account jackknife.
    """

    within: float
    across: float
    ratio: float
    ratio_low: float


def account_sums(
    vectors: NDArray[np.float32], account: NDArray[np.int64], accounts: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Per-account vector sums float64[accounts, dim], sums of squared norms, and counts."""
    sums, squares = sums_by_owner(vectors, account, accounts)
    return sums, squares, np.bincount(account, minlength=accounts)


def exchangeability(vectors: NDArray[np.float32], account: NDArray[np.int64]) -> Exchangeability | None:
    """Measure a pool; None where it has fewer than three accounts or no account with two queries.

    Args:
        vectors: float32[n, dim], the pool's queries, centred on the corpus mean, one row per account and distinct text.
        account: int64[n], numbered from 0 without gaps.
    """
    accounts = int(account.max(initial=-1)) + 1
    return exchangeability_of_sums(*account_sums(vectors, account, accounts))


def exchangeability_of_sums(
    sums: NDArray[np.float64], squares: NDArray[np.float64], counts: NDArray[np.int64]
) -> Exchangeability | None:
    """Likewise of what `account_sums` gives."""
    pairs = counts * (counts - 1)
    if len(counts) < 3 or pairs.sum() - pairs.max() <= 0:
        return None
    within, across, ratio, error = _measured(sums, squares, counts)
    return Exchangeability(within=within, across=across, ratio=ratio, ratio_low=ratio - 1.645 * error)


@compiled
def _measured(
    sums: NDArray[np.float64], squares: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[float, float, float, float]:
    """W, C, C / W, and its delete-one standard error."""
    n, pairs = len(counts), counts * (counts - 1)
    total, own = sums.sum(axis=0), (sums**2).sum(axis=1)
    length, inside = (total**2).sum(), own - squares
    within = inside.sum() / pairs.sum()
    across = (length - own.sum()) / (counts.sum() ** 2 - (counts**2).sum())
    # Each account left out in turn, in one go: |T - S|^2 = |T|^2 - 2 T.S + |S|^2.
    rest = length - 2 * np.dot(sums, total) + own
    within_out = (inside.sum() - inside) / np.maximum(pairs.sum() - pairs, 1)
    across_out = (rest - (own.sum() - own)) / np.maximum(
        (counts.sum() - counts) ** 2 - ((counts**2).sum() - counts**2), 1
    )
    left_out = np.where(within_out > 1e-9, across_out / np.maximum(within_out, 1e-9), 0.0)
    ratio = across / within if within > 1e-9 else 0.0
    return within, across, ratio, np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())


def permutation_z(vectors: NDArray[np.float32], account: NDArray[np.int64]) -> float:
    """z of the within-account similarity among all shufflings of the labels; near 0 if accounts are interchangeable.

    Mean and variance over all permutations in closed form (Mantel 1967), so nothing is drawn. Cost: linear in queries,
    quadratic in the dimension. 0 for fewer than four queries.
    """
    n = len(vectors)
    if n < 4:
        return 0.0
    x = vectors.astype(np.float64)
    sums, squares, sizes = account_sums(vectors, account, int(account.max()) + 1)
    counts = sizes.astype(np.float64)
    observed = float(np.einsum("ij,ij->", sums, sums) - squares.sum())
    norms = np.einsum("ij,ij->i", x, x)
    rows = x @ x.sum(axis=0) - norms
    # Both have the same sum of squares.
    gram = x.T @ x if n > x.shape[1] else x @ x.T
    similarity = _moments(rows.sum(), np.einsum("ij,ij->", gram, gram) - norms @ norms, rows @ rows)
    same = _moments((counts * (counts - 1)).sum(), (counts * (counts - 1)).sum(), (counts * (counts - 1) ** 2).sum())
    falling = n * (n - 1.0) * np.array([1.0, n - 2.0, (n - 2.0) * (n - 3.0)])
    mean = same[3] * similarity[3] / falling[0]
    second = float(np.array([2.0, 4.0, 1.0]) * same[:3] * similarity[:3] @ (1 / falling))
    spread = np.sqrt(max(second - mean**2, 0.0))
    return float((observed - mean) / spread) if spread > 1e-12 * max(1.0, abs(mean)) else 0.0


def _moments(total: float, squares: float, row_squares: float) -> NDArray[np.float64]:
    """Sums over distinct pairs that share two, one and no index, and the plain sum, of a symmetric hollow matrix."""
    return np.array([squares, row_squares - squares, total**2 - 4 * row_squares + 2 * squares, total])
