"""When the accounts of a pool ask: together, like machines, in one rhythm, from one day to one day, in relays.

Deadlines, news and releases make crowds keep time as well. All of this supports a finding; none of it decides.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from coterie.detection.evidence_pool import UNITS_MIN, Comparison, PoolView, bounded, shown
from coterie.detection.nulls import (
    ALL_DRAWS,
    FIRST_DRAWS,
    Measured,
    apartness,
    mean_columns,
    rank_test,
    set_test,
    spread,
    spread_columns,
)
from coterie.domain import Evidence

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
SLOTS = 288
"""Parts of a day that count as together at the finest scale: five minutes each."""

SCALES = ("five minutes", "an hour", "a day")

QUICK_S = 10.0
"""Seconds between two requests of one account below which nobody has read the first answer."""

GAP_EDGES_S = (1, 5, 20, 60, 300, 1_200, 3_600, 14_400, 86_400)
"""Edges of the histogram of seconds between requests: about two octaves a bin."""

GAPS_MIN = 5
ROWS_MIN = 20
DAYS_MIN = 3


def synchrony_evidence(pool: PoolView, *, seed: int) -> Evidence | None:
    """Are the accounts active together more than their daily rhythms give? Supports, never decides.

    Homework before a deadline, breaking news and a release are as synchronous as a scheduler.
    """
    rows = pool.window.rows
    days, slots = _days_and_slots(rows.time_us)
    unit_of_row = pool.principals.of_row
    units, unit = np.unique(unit_of_row[pool.rows], return_inverse=True)
    last = np.zeros(pool.principals.count, np.int64)
    np.maximum.at(last, unit_of_row, days)
    first = np.full(pool.principals.count, days.max(initial=0))
    np.minimum.at(first, unit_of_row, days)
    mask = np.ones(rows.size, bool)
    mask[pool.rows] = False
    week = (rows.time_us.min() // DAY_US + np.arange(int(days.max(initial=0)) + 1) + 3) % 7 >= 5
    found = synchrony(
        days[pool.rows],
        slots[pool.rows],
        unit,
        np.column_stack((first[units], last[units])),
        everybody=np.bincount(days[mask] * 24 + slots[mask] * 24 // SLOTS, minlength=len(week) * 24),
        is_weekend=week,
        seed=seed,
    )
    if found is None:
        return None
    tested, scale = found
    return shown(
        Evidence(
            name="synchrony",
            statistic=f"pairs of exchanges of different accounts within the same {SCALES[scale].removeprefix('a ')}",
            value=round(tested.value, 0),
            null=(
                f"each account's days shuffled, its hours kept: {tested.expected:.0f} pairs; "
                "a deadline or an event does the same"
            ),
            p_value=bounded(tested.p_value),
            summary=(
                f"They ask within {SCALES[scale]} of each other {tested.value / max(1.0, tested.expected):.1f} times "
                "as often as their own daily rhythms give."
            ),
        )
    )


def synchrony(
    day: NDArray[np.int64],
    slot: NDArray[np.int64],
    unit: NDArray[np.int64],
    life: NDArray[np.int64],
    *,
    everybody: NDArray[np.int64],
    is_weekend: NDArray[np.bool_],
    seed: int,
) -> tuple[Measured, int] | None:
    """Coincidences against shuffled days, at the scale where they stand out most; None for too little data.

    Each unit's days are permuted as wholes among those of its life, weekdays and weekends apart, so that volume, hours
    and sessions stay its own and a common time zone or office hours give nothing. At each scale the statistic is the
    squared distance of the pool's counts from the profile of everybody else, so that what moves all traffic gives
    nothing either; the largest of the three standardised statistics is the test (Westfall and Young 1993). Cost:
    linear in rows, units and days, times draws.

    Args:
        day: int64[n], from 0; slot: int64[n], part of the day, below `SLOTS`.
        unit: int64[n], numbered from 0.
        life: int64[units, 2], first and last day of all traffic of each.
        everybody: int64[days * 24], exchanges of all others in each hour.
        is_weekend: bool[days].

    Returns:
        Pairs of rows of different units together, those of the middle of the null, p; and the number of the scale.
    """
    days, units = len(is_weekend), len(life)
    if len(day) < ROWS_MIN or units < 3 or days < DAYS_MIN:
        return None
    rng = np.random.default_rng(seed)
    inside = (np.arange(days) >= life[:, :1]) & (np.arange(days) <= life[:, 1:])
    # Days outside a life are groups of their own, which no shuffle leaves.
    group = np.where(inside, is_weekend.astype(float), 2.0 + np.arange(days))
    order = np.argsort(group, axis=1, kind="stable")
    profile = _profile(everybody, len(day))
    own = _coincidences(day, slot, unit, days)
    moved = np.empty((units, days), np.int64)
    values = [_distances(np.bincount(day * SLOTS + slot, minlength=days * SLOTS), profile)]
    pairs = []
    p_value = 1.0
    for until in (FIRST_DRAWS, ALL_DRAWS):
        while len(values) <= until:
            shuffled = np.argsort(group + 0.5 * rng.random((units, days)), axis=1)
            np.put_along_axis(moved, order, shuffled, axis=1)
            counts = np.bincount(moved[unit, day] * SLOTS + slot, minlength=days * SLOTS)
            values.append(_distances(counts, profile))
            pairs.append(_pairs(counts))
        table = np.array(values)
        deviation = table.std(axis=0)
        z = (table - table.mean(axis=0)) / np.where(deviation > 0, deviation, np.inf)
        largest = z.max(axis=1)
        p_value = float((largest >= largest[0] - 1e-9).mean())
        if p_value > 0.05:
            break
    scale = int(z[0].argmax())
    observed = _pairs(np.bincount(day * SLOTS + slot, minlength=days * SLOTS)) - own
    expected = np.median(np.array(pairs), axis=0) - own
    return Measured(float(observed[scale]), float(expected[scale]), p_value, units), scale


def _days_and_slots(time_us: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Days from the first, and part of the day, of one time at least."""
    day = time_us // DAY_US
    return day - day.min(), (time_us % DAY_US) * SLOTS // DAY_US


def _profile(everybody: NDArray[np.int64], rows: int) -> tuple[NDArray[np.float64], ...]:
    """What the pool would send by slot, hour and day if it went with everybody else."""
    total = max(1, int(everybody.sum()))
    hours = everybody * (rows / total)
    days = np.asarray(hours.reshape(-1, 24).sum(axis=1), np.float64)
    return np.repeat(hours / (SLOTS // 24), SLOTS // 24), np.asarray(hours, np.float64), days


def _scales(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    hours = counts.reshape(-1, SLOTS // 24).sum(axis=1)
    return counts, hours, hours.reshape(-1, 24).sum(axis=1)


def _distances(counts: NDArray[np.int64], profile: tuple[NDArray[np.float64], ...]) -> list[float]:
    return [float(((count - mean) ** 2).sum()) for count, mean in zip(_scales(counts), profile, strict=True)]


def _pairs(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.array([(count * (count - 1) / 2).sum() for count in _scales(counts)])


def _coincidences(
    day: NDArray[np.int64], slot: NDArray[np.int64], unit: NDArray[np.int64], days: int
) -> NDArray[np.float64]:
    """Pairs of rows of one unit together, which no shuffle of whole days changes."""
    found = []
    for width in (1, SLOTS // 24, SLOTS):
        bins = days * SLOTS // width
        held = np.unique(unit * bins + (day * SLOTS + slot) // width, return_counts=True)[1]
        found.append((held * (held - 1) / 2).sum())
    return np.array(found)


def gaps_before(time_us: NDArray[np.int64], account: NDArray[np.int32]) -> NDArray[np.float64]:
    """float64[n], seconds since the account's previous exchange; NaN for its first."""
    order = np.lexsort((time_us, account))
    gaps = np.full(len(order), np.nan)
    same = account[order[1:]] == account[order[:-1]]
    gaps[order[1:][same]] = np.diff(time_us[order])[same] / 1e6
    return gaps


def rhythm_evidence(pool: PoolView, comparison: Comparison, *, seed: int) -> list[Evidence]:
    """Machine-like spacing, against peers and the accounts' own other traffic; one rhythm over all accounts."""
    rows = pool.window.rows
    gaps = gaps_before(rows.time_us, rows.account)
    found = [
        _batch_evidence(gaps, comparison),
        _own_rhythm_evidence(pool, gaps),
        _equal_rhythm_evidence(gaps, comparison, seed=seed),
    ]
    return [item for item in found if item]


def _batch_evidence(gaps: NDArray[np.float64], comparison: Comparison) -> Evidence | None:
    tested = batch_rhythm(gaps[comparison.rows], comparison.unit, comparison.member)
    if tested is None:
        return None
    inside = gaps[comparison.rows[comparison.member[comparison.unit]]]
    quick = float((inside[~np.isnan(inside)] < QUICK_S).mean())
    return shown(
        Evidence(
            name="batch_rhythm",
            statistic="probability that an account of the pool is more regular or quicker than another customer",
            value=round(tested.value, 3),
            null="spread of log seconds between requests, and share below 10 s, as of customers of like volume: 0.5",
            p_value=bounded(tested.p_value),
            summary=(
                f"Their requests are spaced like a machine's: {tested.value:.0%} of comparisons with other customers "
                f"say so, and {quick:.0%} follow the one before within {QUICK_S:.0f} seconds."
            ),
        )
    )


def batch_rhythm(gaps_s: NDArray[np.float64], unit: NDArray[np.int64], member: NDArray[np.bool_]) -> Measured | None:
    """Are the members' gaps more even, or more often below `QUICK_S`? Both by ranks over units, Bonferroni of two.

    Args:
        gaps_s: float64[n], NaN where unknown; units with fewer than `GAPS_MIN` are left out.
    """
    evenness, quick, has = _gap_measures(gaps_s, unit, len(member))
    inside, outside = member & has, ~member & has
    if inside.sum() < UNITS_MIN or outside.sum() < UNITS_MIN:
        return None
    tests = [rank_test(-evenness[inside], -evenness[outside]), rank_test(quick[inside], quick[outside])]
    best = min(tests, key=lambda test: test.p_value)
    return best._replace(p_value=min(1.0, 2 * best.p_value))


def _gap_measures(
    gaps_s: NDArray[np.float64], unit: NDArray[np.int64], units: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Interquartile range of log gaps and share of quick ones of each unit, and who has enough gaps."""
    known = ~np.isnan(gaps_s)
    unit, logs = unit[known], np.log1p(gaps_s[known])
    order = np.lexsort((logs, unit))
    count = np.bincount(unit, minlength=units)
    first = np.cumsum(count) - count
    has = count >= GAPS_MIN
    quick = np.bincount(unit[logs < np.log1p(QUICK_S)], minlength=units) / np.maximum(count, 1)
    quartile = [logs[order][(first + share * (count - 1)).astype(np.int64)[has]] for share in (0.25, 0.75)]
    evenness = np.zeros(units)
    evenness[has] = quartile[1] - quartile[0]
    return evenness, quick, has


def _own_rhythm_evidence(pool: PoolView, gaps: NDArray[np.float64]) -> Evidence | None:
    inside = np.zeros(pool.window.rows.size, bool)
    inside[pool.rows] = True
    units = pool.units
    place = np.full(pool.principals.count, -1)
    place[units] = np.arange(len(units))
    unit = place[pool.principals.of_row]
    tested = own_rhythm(gaps[unit >= 0], unit[unit >= 0], inside[unit >= 0], len(units))
    if tested is None:
        return None
    return shown(
        Evidence(
            name="own_rhythm",
            statistic="share of accounts whose requests in the pool are spaced more evenly than their other ones",
            value=round(tested.value, 3),
            null="in the pool and outside of it an account keeps one rhythm (signed ranks): half of them",
            p_value=bounded(tested.p_value),
            summary=(
                f"{tested.value:.0%} of {tested.n} accounts space these requests more evenly than everything else that "
                "they send."
            ),
        )
    )


def own_rhythm(
    gaps_s: NDArray[np.float64], unit: NDArray[np.int64], inside: NDArray[np.bool_], units: int
) -> Measured | None:
    """Is each unit's spacing more even inside than outside (Wilcoxon 1945, one-sided)? None below 6 units with both."""
    even_in, _, has_in = _gap_measures(gaps_s[inside], unit[inside], units)
    even_out, _, has_out = _gap_measures(gaps_s[~inside], unit[~inside], units)
    difference = (even_out - even_in)[has_in & has_out]
    difference = difference[difference != 0]
    if len(difference) < 6:
        return None
    result = stats.wilcoxon(difference, alternative="greater")
    return Measured(float((difference > 0).mean()), 0.5, float(result.pvalue), len(difference))


def _equal_rhythm_evidence(gaps: NDArray[np.float64], comparison: Comparison, *, seed: int) -> Evidence | None:
    tested = equal_rhythm(gaps[comparison.rows], comparison, seed=seed)
    if tested is None:
        return None
    return shown(
        Evidence(
            name="equal_rhythm",
            statistic="mean squared distance between two accounts' histograms of seconds between requests",
            value=round(tested.value, 4),
            null=f"as many customers of like volume at random, {ALL_DRAWS} times: {tested.expected:.4f} in the middle",
            p_value=bounded(tested.p_value),
            summary=(
                f"The rhythms of {tested.n} accounts are more alike than those of other customers: distance "
                f"{tested.value:.3f}, where {tested.expected:.3f} is usual."
            ),
        )
    )


def equal_rhythm(gaps_s: NDArray[np.float64], comparison: Comparison, *, seed: int) -> Measured | None:
    """Are the members' distributions of gaps more alike than those of as many units at random?"""
    known = ~np.isnan(gaps_s)
    kept = comparison.some(known)
    count = np.bincount(kept.unit, minlength=kept.units)
    kept, gaps_s = kept.only(count >= GAPS_MIN), gaps_s[known][(count >= GAPS_MIN)[kept.unit]]
    if not kept.is_enough:
        return None
    bins = np.eye(len(GAP_EDGES_S) + 1)[np.searchsorted(GAP_EDGES_S, gaps_s, side="right")]
    columns, _ = mean_columns(bins, kept.unit, kept.units)
    return set_test(columns, kept.member, apartness, seed=seed)


def spans_evidence(pool: PoolView, comparison: Comparison, *, seed: int) -> Evidence | None:
    """Do the accounts start and end the work together?"""
    tested = equal_spans(pool.window.rows.time_us[comparison.rows], comparison, seed=seed)
    if tested is None:
        return None
    return shown(
        Evidence(
            name="equal_spans",
            statistic="spread of the accounts' first exchange plus that of their last, in hours (standard deviations)",
            value=round(tested.value, 1),
            null=f"as many other customers at random, {ALL_DRAWS} times: {tested.expected:.0f} hours in the middle",
            p_value=bounded(tested.p_value),
            summary=(
                f"{tested.n} accounts start and end together: to within {tested.value / 2:.0f} hours, where "
                f"{tested.expected / 2:.0f} are usual."
            ),
        )
    )


def equal_spans(time_us: NDArray[np.int64], comparison: Comparison, *, seed: int) -> Measured | None:
    """Are the members' first and last times closer together than those of as many units at random?"""
    if not comparison.is_enough:
        return None
    first = np.full(comparison.units, np.iinfo(np.int64).max)
    last = np.zeros(comparison.units, np.int64)
    np.minimum.at(first, comparison.unit, time_us)
    np.maximum.at(last, comparison.unit, time_us)
    columns = spread_columns(np.column_stack((first, last)) / HOUR_US)
    return set_test(columns, comparison.member, spread, seed=seed)


def relay_evidence(pool: PoolView, *, seed: int) -> Evidence | None:
    """Do the accounts come one after another: when one ends, another begins?"""
    rows = pool.window.rows
    mine = np.isin(rows.account, pool.accounts)
    _, account = np.unique(rows.account[mine], return_inverse=True)
    first = np.full(len(pool.accounts), np.iinfo(np.int64).max)
    last = np.zeros(len(pool.accounts), np.int64)
    np.minimum.at(first, account, rows.time_us[mine])
    np.maximum.at(last, account, rows.time_us[mine])
    tested = relay(first, last, int(rows.time_us.min()), int(rows.time_us.max()), seed=seed)
    if tested is None:
        return None
    return shown(
        Evidence(
            name="relay",
            statistic="hours during which two of the accounts are alive at once, summed over pairs",
            value=round(tested.value, 1),
            null=f"each account's life moved by whole days within the window: {tested.expected:.0f} hours",
            p_value=bounded(tested.p_value),
            summary=(
                f"{tested.n} short-lived accounts take turns: they overlap for {tested.value:.0f} hours, where "
                f"{tested.expected:.0f} are to be expected."
            ),
        )
    )


def relay(
    first_us: NDArray[np.int64], last_us: NDArray[np.int64], begin_us: int, end_us: int, *, seed: int
) -> Measured | None:
    """Do lives overlap less than if each began on a day of its own?

    Each life is moved by whole days to anywhere within the window, so that its length and hours stay. None where fewer
    than `UNITS_MIN` can be moved or their lives sum to less than half the window: then not to overlap is no wonder.
    Cost: n log n, times draws.
    """
    back, ahead = (first_us - begin_us) // DAY_US, (end_us - last_us) // DAY_US
    free = back + ahead >= 2
    first, last = first_us[free], last_us[free]
    if free.sum() < UNITS_MIN or (last - first).sum() < (end_us - begin_us) / 2:
        return None
    back, ahead = back[free], ahead[free]
    rng = np.random.default_rng(seed)
    observed = float(_overlap_h(first[None], last[None])[0])
    drawn: list[NDArray[np.float64]] = []
    for draws in (FIRST_DRAWS, ALL_DRAWS - FIRST_DRAWS):
        for start in range(0, draws, 100):
            shape = (min(100, draws - start), len(first))
            moved = rng.integers(-back, ahead + 1, shape) * DAY_US
            drawn.append(_overlap_h(first + moved, last + moved))
        values = np.concatenate(drawn)
        p_value = float((1 + (values <= observed + 1e-6).sum()) / (1 + len(values)))
        if p_value > 0.05:
            break
    return Measured(observed, float(np.median(values)), p_value, len(first))


def _overlap_h(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[sets], hours that two lives of a set overlap, summed over pairs: the time at which k live, k(k-1)/2."""
    times = np.concatenate((first, last), axis=1)
    order = np.argsort(times, axis=1, kind="stable")
    alive = np.cumsum(np.where(order < first.shape[1], 1, -1), axis=1)[:, :-1]
    hours = np.diff(np.take_along_axis(times, order, axis=1), axis=1) / HOUR_US
    return np.asarray((alive * (alive - 1) / 2 * hours).sum(axis=1))
