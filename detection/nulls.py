"""Null models that several pieces of evidence share: sets of accounts drawn at random, ranks, overdispersed counts."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FIRST_DRAWS = 199
ALL_DRAWS = 1_999
"""Draws of a Monte Carlo null: all of them only where the first few leave a doubt, which keeps the p-value valid."""

OTHERS_MIN = 20
"""Units outside without which nothing is said of what is usual."""

_MATRIX_CELLS = 4_000_000


class Measured(NamedTuple):
    """What a test says.

    Attributes:
        value: the statistic observed.
        expected: what it is in the middle of the null.
        p_value: probability of a value as extreme under the null.
        n: accounts, or whatever the test counts as independent.
    """

    value: float
    expected: float
    p_value: float
    n: int


Statistic = Callable[[NDArray[np.float64], int], NDArray[np.float64]]
"""From sums of columns over each of some sets, float64[sets, c], and the size of a set, to one number a set."""


def set_test(columns: NDArray[np.float64], member: NDArray[np.bool_], statistic: Statistic, *, seed: int) -> Measured:
    """Is the statistic of the members lower than that of as many units drawn from all of them?

    A permutation test of who is a member: exact where members are exchangeable with the rest (Phipson and Smyth 2010
    for the one that is added). Cost: linear in units times columns times `ALL_DRAWS`.

    Args:
        columns: float64[units, c], summed over a set.
        member: bool[units].
    """
    rng = np.random.default_rng(seed)
    size, units = int(member.sum()), len(member)
    observed = float(statistic(columns[member].sum(axis=0, keepdims=True), size)[0])
    # Rounding must not make a set that is the members' own look different from it.
    limit = observed + 1e-9 * max(1.0, abs(observed))
    drawn: list[NDArray[np.float64]] = []
    for draws in (FIRST_DRAWS, ALL_DRAWS - FIRST_DRAWS):
        step = max(1, _MATRIX_CELLS // units)
        for start in range(0, draws, step):
            keys = rng.random((min(step, draws - start), units), np.float32)
            chosen = np.zeros(keys.shape)
            np.put_along_axis(chosen, np.argpartition(keys, size - 1, axis=1)[:, :size], 1.0, axis=1)
            drawn.append(statistic(chosen @ columns, size))
        values = np.concatenate(drawn)
        p_value = float((1 + (values <= limit).sum()) / (1 + len(values)))
        if p_value > 0.05:
            break
    return Measured(observed, float(np.median(values)), p_value, size)


def mean_columns(
    features: NDArray[np.floating], unit: NDArray[np.int64], units: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Columns from which `apartness` of any set of units follows, and the number of rows of each unit.

    Column 0 is the unbiased square of a unit's mean (self-pairs left out), column 1 its plain square, the rest the
    mean itself. Units with fewer than two rows get zeros.

    Args:
        features: float[n, f].
        unit: int64[n], numbered below `units`.
    """
    count = np.bincount(unit, minlength=units)
    sums = np.zeros((units, features.shape[1]))
    order = np.argsort(unit, kind="stable")
    held = count > 0
    first = (np.cumsum(count) - count)[held]
    if len(first):
        sums[held] = np.add.reduceat(np.asarray(features[order], np.float64), first, axis=0)
    squares = np.bincount(unit, weights=np.einsum("ij,ij->i", features, features), minlength=units)
    enough = count >= 2
    means = np.where(enough[:, None], sums / np.maximum(count, 1)[:, None], 0.0)
    own = np.einsum("ij,ij->i", sums, sums)
    unbiased = np.where(enough, (own - squares) / np.maximum(count * (count - 1), 1), 0.0)
    return np.column_stack((unbiased, np.einsum("ij,ij->i", means, means), means)), count


def apartness(sums: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Mean squared distance between the true means of two units of a set, from sums of `mean_columns`.

    Unbiased: the noise of each unit's mean is left out (the squared MMD of a linear kernel, Gretton et al. 2012).
    """
    total = np.einsum("ij,ij->i", sums[:, 2:], sums[:, 2:])
    across = (total - sums[:, 1]) / max(1, size * (size - 1))
    return np.asarray(2 * (sums[:, 0] / size - across))


def spread(sums: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Sum over columns of their standard deviation in a set, from sums of the columns and of their squares."""
    half = sums.shape[1] // 2
    variance = (sums[:, half:] - sums[:, :half] ** 2 / size) / max(1, size - 1)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)).sum(axis=1))


def spread_columns(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns for `spread`: values float64[units, c], centred for the sake of rounding, and their squares."""
    centred = values - values.mean(axis=0)
    return np.concatenate((centred, centred**2), axis=1)


def rank_test(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> Measured:
    """Are the values inside higher than those outside (Mann and Whitney 1947, one-sided, corrected for ties)?

    The value is the mean rank as a probability: of one inside being above one outside, a tie counting half.
    """
    if len(np.unique(np.concatenate((inside, outside)))) < 2:
        return Measured(0.5, 0.5, 1.0, len(inside))
    if min(len(inside), len(outside)) >= 8:
        result = stats.mannwhitneyu(inside, outside, alternative="greater", method="asymptotic")
        above = float(result.statistic) / (len(inside) * len(outside))
        return Measured(above, 0.5, float(result.pvalue), len(inside))
    # Ranks are made once, and only those of the few are drawn: scipy's permutations rank everything again each time.
    ranks = stats.rankdata(np.concatenate((inside, outside)))
    few_inside = len(inside) <= len(outside)
    few = len(inside) if few_inside else len(outside)
    rng = np.random.default_rng(0)
    drawn = np.array([ranks[rng.choice(len(ranks), few, replace=False)].sum() for _ in range(ALL_DRAWS)])
    observed = ranks[: len(inside)].sum() if few_inside else ranks[len(inside) :].sum()
    as_high = drawn >= observed - 1e-9 if few_inside else drawn <= observed + 1e-9
    above = (ranks[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside))
    return Measured(float(above), 0.5, float((1 + as_high.sum()) / (1 + ALL_DRAWS)), len(inside))


def excess_test(
    hits: NDArray[np.int64], asked: NDArray[np.int64], member: NDArray[np.bool_], *, seed: int
) -> Measured | None:
    """Is the members' mean rate of hits higher than that of as many units at random?

    By permutation of units and not by a beta-binomial: where a few units have nothing but hits, as one crowd with a
    template has, the tail of a beta-binomial with the same mean and variance is too short (6 % of p-values below .01).
    The value is the rate over all the members' trials, expected that over all others'. None with fewer than
    `OTHERS_MIN` others, or than members.

    Args:
        hits, asked: int64[units], hits among the trials of each unit; every unit has trials.
    """
    others = ~member
    if others.sum() < max(OTHERS_MIN, member.sum()):
        return None
    rates = -(hits / asked)[:, None]
    tested = set_test(rates, member, lambda sums, _: np.asarray(sums[:, 0]), seed=seed)
    return Measured(
        float(hits[member].sum() / asked[member].sum()),
        float(hits[others].sum() / asked[others].sum()),
        tested.p_value,
        tested.n,
    )
