"""Step 3 once more: accounts that keep meeting where few others are.

A list that is not dense lies in many small cells of texts, and behind cover each account has an item or two in each:
nothing to test, and too few neighbours to make links of. But the same accounts meet in all of those cells, which
nobody does by chance. From each cell in turn: the cells in which its accounts meet again, and the accounts that have
much in all of these. (One step of the signature algorithm of Ihmels et al. 2002, a biclustering of accounts and cells.)
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from coterie.detection.items import Items
from coterie.detection.trimming import ITEMS_MIN

MEETING_MIN = 3
"""Accounts that must meet in a cell, and items that an account must have in the cells, whatever chance gives."""

ACCOUNTS_SHARE_MAX = 0.3
"""Share of all accounts beyond which a cell is everybody's."""


def find_companies(items: Items, cells: Sequence[NDArray[np.int64]], *, rate: float) -> list[NDArray[np.int64]]:
    """What the accounts of each company send in the cells where they meet, where these are two or more.

    Cost: for each cell what its accounts have in all cells.

    Args:
        cells: sets of items; a company grows from each.
        rate: chance of one false cell in a company, and of one false account (Bonferroni).
    """
    if not cells:
        return []
    sizes = np.array([len(cell) for cell in cells])
    cell, item = np.repeat(np.arange(len(cells)), sizes), np.concatenate(cells)
    sent = sparse.csr_matrix((np.ones(len(item)), (items.principal[item], cell)), shape=(items.principals, len(cells)))
    sent.sum_duplicates()
    volume = np.bincount(items.principal, minlength=items.principals).astype(np.float64)
    present = sent.sign()
    accounts_in = np.asarray(present.sum(axis=0)).ravel()
    seeds = np.flatnonzero(
        (accounts_in > MEETING_MIN) & (accounts_in <= max(ACCOUNTS_SHARE_MAX * items.principals, 2 * MEETING_MIN))
    )
    first = present.T.tocsr()[seeds]
    together = _meetings(first, present, accounts_in, volume, rate / len(cells))
    company = _company(first, together, sent, sizes, volume, rate / max(1, items.principals))
    return _pools(items, cells, together, company)


def _meetings(
    first: sparse.csr_matrix,
    present: sparse.csr_matrix,
    accounts_in: NDArray[np.float64],
    volume: NDArray[np.float64],
    rate: float,
) -> sparse.csr_matrix:
    """The cells in which accounts of a first cell are more of those present than their volume gives (binomial)."""
    share = np.asarray(first @ volume).ravel() / max(1.0, volume.sum())
    met = (first @ present).tocsr()
    row = np.repeat(np.arange(met.shape[0]), np.diff(met.indptr))
    chance = stats.binom.sf(met.data - 1, accounts_in[met.indices], np.clip(share[row], 1e-9, 1 - 1e-9))
    kept = (met.data >= MEETING_MIN) & (chance < rate)
    return sparse.csr_matrix((np.ones(int(kept.sum())), (row[kept], met.indices[kept])), shape=met.shape)


def _company(
    first: sparse.csr_matrix,
    together: sparse.csr_matrix,
    sent: sparse.csr_matrix,
    sizes: NDArray[np.int64],
    volume: NDArray[np.float64],
    rate: float,
) -> sparse.csr_matrix:
    """The accounts with more in those cells than strangers of their volume have (Poisson)."""
    count = (together @ sent.T).tocsr()
    row = np.repeat(np.arange(count.shape[0]), np.diff(count.indptr))
    member = np.asarray(first[row, count.indices]).ravel() if len(row) else np.zeros(0)
    inside = np.bincount(row, weights=count.data * member, minlength=count.shape[0])
    # The rate of those who are not of the first cell, taken as if all of them were strangers.
    elsewhere = np.maximum(volume.sum() - np.asarray(first @ volume).ravel(), 1.0)
    stranger = np.maximum(np.asarray(together @ sizes).ravel() - inside, 0.5) / elsewhere
    chance = stats.poisson.sf(count.data - 1, stranger[row] * volume[count.indices])
    kept = (count.data >= MEETING_MIN) & (chance < rate)
    return sparse.csr_matrix((np.ones(int(kept.sum())), (row[kept], count.indices[kept])), shape=count.shape)


def _pools(
    items: Items, cells: Sequence[NDArray[np.int64]], together: sparse.csr_matrix, company: sparse.csr_matrix
) -> list[NDArray[np.int64]]:
    pools: dict[bytes, NDArray[np.int64]] = {}
    # Of one set of accounts the pool with most in it: cells that lie side by side find the same.
    member = np.zeros(items.principals, bool)
    for number in np.flatnonzero((np.diff(together.indptr) >= 2) & (np.diff(company.indptr) >= MEETING_MIN)):
        accounts = company.indices[company.indptr[number] : company.indptr[number + 1]]
        where = together.indices[together.indptr[number] : together.indptr[number + 1]]
        member[accounts] = True
        pool = np.unique(np.concatenate([cells[one] for one in where]))
        pool = pool[member[items.principal[pool]]]
        member[accounts] = False
        who, count = np.unique(items.principal[pool], return_counts=True)
        tested = who[count >= ITEMS_MIN].tobytes()
        if len(pool) > len(pools.get(tested, ())):
            pools[tested] = pool
    return list(pools.values())
