"""Equal shares: the p-value's level for unequal innocents, its power for slices, and truncation."""

import numpy as np

from coterie.detection.shares import equal_shares_p_value, share_spread


def p_values(spread: float, accounts: int, *, median: float, least: int = 5, draws: int = 800) -> np.ndarray:
    """Of accounts whose shares are lognormal with that spread; those below `least` are not in the pool."""
    rng = np.random.default_rng(0)
    found = []
    while len(found) < draws:
        counts = np.round(rng.lognormal(np.log(median), spread, 4 * accounts)).astype(np.int64)
        counts = counts[counts >= least][:accounts]
        if len(counts) == accounts:
            found.append(equal_shares_p_value(counts, 0.45, least))
    return np.array(found)


def test_the_level_holds_for_innocents_at_and_beyond_the_null() -> None:
    for spread in (0.45, 0.8):
        for accounts in (3, 5, 12):
            for median in (6.0, 12.0, 40.0):
                p = p_values(spread, accounts, median=median)
                for level in (0.01, 0.05, 0.1):
                    allowed = level + 3 * np.sqrt(level * (1 - level) / len(p))
                    assert np.mean(p <= level) <= allowed, (spread, accounts, median, level)


def test_dealt_slices_are_equal_and_more_accounts_prove_it_better() -> None:
    few, many = p_values(0.12, 4, median=36.0), p_values(0.12, 12, median=36.0)
    assert np.median(few) < 0.05
    assert np.median(many) < 1e-4


def test_accounts_that_all_have_the_least_say_nothing() -> None:
    assert equal_shares_p_value(np.array([5, 5, 5, 5, 6]), 0.45, 5) > 0.3
    assert equal_shares_p_value(np.array([30]), 0.45, 5) == 1.0
    assert share_spread(np.array([7])) == 0.0
