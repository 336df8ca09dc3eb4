"""Are the shares of the work equal? Accounts that are dealt slices send alike numbers; people do not."""

import numpy as np
from numpy.typing import NDArray
from scipy import special


def share_spread(counts: NDArray[np.int64]) -> float:
    """Standard deviation of the logarithm of how many queries each principal has in a pool; 0 for fewer than two."""
    return float(np.log(np.maximum(counts, 1)).std(ddof=1)) if len(counts) > 1 else 0.0


def equal_shares_p_value(counts: NDArray[np.int64], spread_min: float, least: int) -> float:
    """p of "the shares spread by at least `spread_min`": lower tail of chi-squared on the variance of their logarithm.

    Numbers are whole, so a spread of less than rounding gives cannot be told from it: the variance of rounding,
    1 / (12 mean^2) of the logarithm, is added (Sheppard 1898). And a pool holds nobody with fewer than `least`: among
    those who have hardly more, people are equal too. What is left of a normal distribution beyond its middle spreads by
    .75 of its mean distance from there (the half-normal), and beyond any limit further out by more, so no more spread
    than that is asked for.
    """
    freedom = len(counts) - 1
    if freedom < 1:
        return 1.0
    room = 0.75 * float(np.log(counts / least).mean())
    if room <= 0:
        return 1.0
    variance = share_spread(counts) ** 2 + 1 / (12 * float(counts.mean()) ** 2)
    return float(special.chdtr(freedom, freedom * variance / min(spread_min, room) ** 2))
