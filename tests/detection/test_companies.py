"""Companies: accounts that meet again and again where few others are, and none where nobody does."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coterie.detection.companies import find_companies
from coterie.detection.items import Items

CELLS, CELL_ITEMS, PEOPLE = 600, 6, 400


def traffic(*, company: int, met_in: int, each: int, seed: int) -> tuple[Items, list[NDArray[np.int64]]]:
    """People who are anywhere, and the first accounts, who have an item each in `met_in` cells besides.

    Each account of the company also sends `each` items anywhere.
    """
    rng = np.random.default_rng(seed)
    sent = [
        (company + int(person), int(cell)) for cell in range(CELLS) for person in rng.integers(0, PEOPLE, CELL_ITEMS)
    ]
    for member in range(company):
        sent += [(member, cell) for cell in range(met_in)]
        sent += [(member, int(cell)) for cell in rng.integers(0, CELLS, each)]
    sent.sort()
    principal = np.array([account for account, _ in sent], np.int32)
    cell_of = np.array([cell for _, cell in sent])
    n = len(sent)
    items = Items(
        principal,
        np.arange(n, dtype=np.int32),
        np.zeros((n, 2), np.float32),
        sparse.csr_matrix((n, n)),
        company + PEOPLE,
    )
    return items, [np.flatnonzero(cell_of == cell) for cell in range(CELLS)]


def test_accounts_that_meet_in_the_same_cells_are_a_company_though_no_cell_shows_it() -> None:
    items, cells = traffic(company=9, met_in=8, each=20, seed=1)
    pools = find_companies(items, cells, rate=0.01)
    found = max(pools, key=lambda pool: np.where(items.principal[pool] < 9, 1, -1).sum())
    members = np.unique(items.principal[found])
    assert set(range(9)) <= set(members.tolist())
    assert len(members) <= 11
    assert sum(np.isin(found, cell).any() for cell in cells[:8]) >= 6


def test_people_who_are_anywhere_keep_no_company() -> None:
    for seed in range(5):
        items, cells = traffic(company=0, met_in=0, each=0, seed=seed)
        assert find_companies(items, cells, rate=0.01) == []


def test_one_cell_is_no_company() -> None:
    items, cells = traffic(company=9, met_in=1, each=20, seed=2)
    assert find_companies(items, cells, rate=0.01) == []


def test_without_cells_there_is_none() -> None:
    items, _ = traffic(company=0, met_in=0, each=0, seed=0)
    assert find_companies(items, [], rate=0.01) == []
