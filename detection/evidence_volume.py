"""How much the accounts of a pool send and spend: alike, more than before, more than others."""

import numpy as np
from numpy.typing import NDArray

from coterie.detection.evidence_pool import UNITS_MIN, PoolView, bounded, shown
from coterie.detection.nulls import ALL_DRAWS, OTHERS_MIN, Measured, rank_test, set_test, spread, spread_columns
from coterie.domain import Evidence

DAY_US = 86_400_000_000
PAST_DAYS_MIN = 1.0
"""Days before a pool's first exchange, and after it, without which there is no past to compare with."""

_NOUNS = {"volume_peers": "exchanges", "spend_peers": "dollars spent", "answer_peers": "output tokens an answer"}


def equal_shares_evidence(pool: PoolView, *, seed: int) -> Evidence | None:
    """Accounts that are dealt slices send alike numbers; people do not (permutation of who is in the pool).

    With cover traffic the share inside the pool counts.
    """
    rows = pool.window.rows
    inside = np.bincount(rows.account[pool.rows], minlength=len(rows.account_ids))[pool.accounts]
    every = np.bincount(rows.account, minlength=len(rows.account_ids))
    tested = equal_shares(inside, every[np.setdiff1d(np.arange(len(every)), pool.accounts)], seed=seed)
    if tested is None:
        return None
    return shown(
        Evidence(
            name="equal_shares",
            statistic="spread of log exchanges an account (standard deviation)",
            value=round(tested.value, 3),
            null=f"as many other accounts at random, {ALL_DRAWS} times: {tested.expected:.2f} in the middle",
            p_value=bounded(tested.p_value),
            summary=(
                f"Their shares of the work are more equal than the volumes of other accounts are: a spread of "
                f"{tested.value:.2f} where {tested.expected:.2f} is usual."
            ),
        )
    )


def equal_shares(inside: NDArray[np.int64], others: NDArray[np.int64], *, seed: int) -> Measured | None:
    """Is the spread of log counts inside smaller than that of as many accounts drawn from inside and outside?

    Others count where they have at least as many as the smallest share inside, since a pool leaves out who sends less.
    None with fewer than `UNITS_MIN` accounts, or thrice as many others.
    """
    others = others[others >= max(5, inside.min(initial=np.iinfo(np.int64).max))]
    if len(inside) < UNITS_MIN or len(others) < 3 * len(inside):
        return None
    counts = np.log(np.concatenate((inside, others)).astype(np.float64))
    return set_test(spread_columns(counts[:, None]), np.arange(len(counts)) < len(inside), spread, seed=seed)


def volume_evidence(pool: PoolView) -> list[Evidence]:
    """Volume since the pool began against the accounts' own past; volume, spend and length of answers against peers."""
    found = [_past_evidence(pool)]
    rows, units = pool.window.rows, pool.principals.count
    of_row = pool.principals.of_row
    volume = np.bincount(of_row, minlength=units).astype(np.float64)
    inside = np.zeros(units, bool)
    inside[pool.units] = True
    least = np.bincount(of_row[pool.rows], minlength=units)[inside].min()
    peers = ~inside & (volume >= least)
    found.append(_peers_evidence("volume_peers", volume, inside, peers))
    cost, known = _sums(rows.cost_usd, of_row, units)
    found.append(_peers_evidence("spend_peers", cost, inside & (known >= least), peers & (known >= least)))
    # How long answers are is a matter of the pool's own exchanges; the rest of what its accounts send is cover.
    tokens = np.where(inside[of_row], np.nan, rows.output_tokens)
    tokens[pool.rows] = rows.output_tokens[pool.rows]
    length, known = _sums(np.log1p(tokens), of_row, units)
    enough = known >= max(3, least)
    mean = np.expm1(length / np.maximum(known, 1))
    found.append(_peers_evidence("answer_peers", mean, inside & enough, peers & enough))
    return [item for item in found if item]


def _sums(
    values: NDArray[np.float64], unit: NDArray[np.int32], units: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum of the known values of each unit, and how many are known."""
    known = ~np.isnan(values)
    sums = np.bincount(unit[known], weights=values[known], minlength=units)
    return np.asarray(sums, np.float64), np.asarray(np.bincount(unit[known], minlength=units), np.int64)


def _peers_evidence(
    name: str, measure: NDArray[np.float64], inside: NDArray[np.bool_], outside: NDArray[np.bool_]
) -> Evidence | None:
    tested = against_peers(measure[inside], measure[outside])
    if tested is None:
        return None
    here, there = float(np.median(measure[inside])), float(np.median(measure[outside]))
    return shown(
        Evidence(
            name=name,
            statistic=f"probability that an account of the pool has more {_NOUNS[name]} than another customer",
            value=round(tested.value, 3),
            null="other customers that send at least as much as its smallest share (ranks): 0.5",
            p_value=bounded(tested.p_value),
            summary=f"They have more {_NOUNS[name]} than others: {here:,.4g} in the middle, others {there:,.4g}.",
        )
    )


def against_peers(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> Measured | None:
    """Rank test of a measure; None with fewer than `UNITS_MIN` inside or `OTHERS_MIN` outside."""
    if len(inside) < UNITS_MIN or len(outside) < OTHERS_MIN:
        return None
    return rank_test(inside, outside)


def _past_evidence(pool: PoolView) -> Evidence | None:
    rows = pool.window.rows
    units = pool.principals.count
    inside = np.zeros(units, bool)
    inside[pool.units] = True
    least = int(np.bincount(pool.principals.of_row[pool.rows], minlength=units)[inside].min())
    since_us = int(rows.time_us[pool.rows].min())
    tested = growth(rows.time_us, pool.principals.of_row, inside, since_us, least=least)
    if tested is None:
        return None
    return shown(
        Evidence(
            name="volume_past",
            statistic="probability that an account of the pool has grown more since it began than another customer",
            value=round(tested.value, 3),
            null="growth of other customers over the same time (ranks): 0.5",
            p_value=bounded(tested.p_value),
            summary=(
                f"Since the work began its {tested.n} accounts have grown more against their own past than "
                f"{tested.value:.0%} of other customers."
            ),
        )
    )


def growth(
    time_us: NDArray[np.int64], unit: NDArray[np.int32], inside: NDArray[np.bool_], since_us: int, *, least: int
) -> Measured | None:
    """Has the volume of the units inside grown more since a time than that of the others?

    The measure is the log of exchanges a day after over before, half an exchange added to each. Who has asked at
    least `least` times since counts, as who is in a pool has. None with less than a day before or after, or where
    nobody inside has a past.
    """
    before_days, after_days = (since_us - time_us.min()) / DAY_US, (time_us.max() - since_us) / DAY_US
    if min(before_days, after_days) < PAST_DAYS_MIN:
        return None
    before = np.bincount(unit[time_us < since_us], minlength=len(inside))
    after = np.bincount(unit[time_us >= since_us], minlength=len(inside))
    if not before[inside].any():
        return None
    measure = np.log((after + 0.5) / after_days) - np.log((before + 0.5) / before_days)
    active = after >= least
    return against_peers(measure[inside & active], measure[~inside & active])
