"""Means and shares with intervals: bootstrap over seeds or campaigns, Wilson for shares of independent things."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

DRAWS = 2_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval; `n` is the number of independent units behind it."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float]:
        """As JSON values, rounded to four places."""
        return {"value": _rounded(self.value), "low": _rounded(self.low), "high": _rounded(self.high), "n": self.n}


def mean_interval(values: Sequence[float]) -> Interval | None:
    """The mean and its percentile bootstrap interval over the values; None where there are none."""
    return ratio_interval(values, [1.0] * len(values))


def ratio_interval(parts: Sequence[float], wholes: Sequence[float]) -> Interval | None:
    """Sum of parts over sum of wholes, with the percentile bootstrap interval over clusters (Efron 1979).

    A cluster is a seed, a window or a campaign: what is resampled as one, for what lies inside of it hangs together.

    Returns:
        None where the wholes add up to nothing.
    """
    part, whole = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    if not whole.sum():
        return None
    drawn = np.random.default_rng(0).integers(0, len(part), (DRAWS, len(part)))
    sums = whole[drawn].sum(axis=1)
    ratios = part[drawn].sum(axis=1)[sums > 0] / sums[sums > 0]
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(part.sum() / whole.sum()), float(low), float(high), len(part))


def share_interval(hits: int, n: int) -> Interval | None:
    """A share of n independent trials with the Wilson score interval (Wilson 1927); None without trials."""
    if n == 0:
        return None
    z = float(norm.ppf((1 + LEVEL) / 2))
    centre = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * float(np.sqrt(hits * (n - hits) / n + z * z / 4))
    # At the ends the limit is exact, and rounding must not push it past the share itself.
    return Interval(hits / n, 0.0 if hits == 0 else centre - half, 1.0 if hits == n else centre + half, n)


def _rounded(value: float) -> float:
    return round(value, 4)
