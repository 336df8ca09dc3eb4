"""What the accounts of a pool share besides their questions: a payment, a network, a client; a change of model."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from coterie.detection.evidence_pool import PoolView, bounded, shown
from coterie.detection.nulls import Measured
from coterie.domain import Evidence, format_time

HOUR_US = 3_600_000_000
PIVOT_HOURS = 12
"""Hours after a release, or of each other, within which accounts change their model together."""


def attributes_evidence(pool: PoolView) -> Evidence | None:
    """One payment, network or client shared by more of the pool's customers than chance gives."""
    rows = pool.window.rows
    inside = np.zeros(pool.principals.count, bool)
    inside[pool.units] = True
    held = {
        key: np.unique(np.column_stack((pool.principals.of_row, codes))[codes >= 0].astype(np.int64), axis=0)
        for key, codes in rows.attributes.items()
        if key != "organisation"
    }
    found = shared_values(held, inside)
    if found is None:
        return None
    tested, key, value = found
    everywhere = int((held[key][:, 1] == value).sum())
    return shown(
        Evidence(
            name="shared_attributes",
            statistic=f"customers of the pool with one value of {key}",
            value=tested.value,
            null=(
                f"customers drawn at random from the {len(inside)} of the window, {everywhere} of which have it "
                "(hypergeometric, all shared values and keys counted)"
            ),
            p_value=bounded(tested.p_value),
            summary=(
                f"{tested.value:.0f} of {tested.n} customers share one {key}; {everywhere} of all {len(inside)} do."
            ),
        )
    )


def shared_values(held: Mapping[str, NDArray[np.int64]], inside: NDArray[np.bool_]) -> tuple[Measured, str, int] | None:
    """The value that most stands out among the members; None where no two of them share any.

    Hypergeometric for each value. Bonferroni twice: over the values that at least two units of the window hold, which
    does not depend on who is in the pool, and over the keys. What many hold, such as a large network, is expected to
    be shared and gives nothing.

    Args:
        held: for each key the distinct (unit, value) pairs, int64[..., 2].
        inside: bool[units].
    """
    best: tuple[Measured, str, int] | None = None
    members = int(inside.sum())
    keys = sum(len(pairs) > 0 for pairs in held.values())
    for key, pairs in held.items():
        everywhere = np.bincount(pairs[:, 1])
        here = np.bincount(pairs[inside[pairs[:, 0]], 1], minlength=len(everywhere))
        shared = np.flatnonzero(here >= 2)
        if not len(shared):
            continue
        p_values = stats.hypergeom.sf(here[shared] - 1, len(inside), everywhere[shared], members)
        least = int(np.argmin(p_values))
        p_value = min(1.0, float(p_values[least]) * int((everywhere >= 2).sum()) * keys)
        value = int(shared[least])
        expected = members * float(everywhere[value]) / len(inside)
        if best is None or p_value < best[0].p_value:
            best = Measured(float(here[value]), expected, p_value, members), key, value
    return best


def pivot_evidence(pool: PoolView) -> Evidence | None:
    """Do the accounts change to a model within hours of its release, or of each other?

    A release makes crowds of early adopters as well: this supports a finding and never decides. Of a model whose
    release the window does not know any time is looked at.
    """
    rows = pool.window.rows
    if not rows.models:
        return None
    inside = np.zeros(len(rows.account_ids), bool)
    inside[pool.accounts] = True
    releases = pool.window.releases
    known = {number: releases[name] for number, name in enumerate(rows.models) if name in releases}
    found = pivot(rows.account, rows.model, rows.time_us, inside, known)
    if found is None:
        return None
    tested, model, begin_us, share = found
    since = f"of its release ({format_time(begin_us)})" if model in known else "of each other"
    return shown(
        Evidence(
            name="model_pivot",
            statistic=f"share of the accounts that first use {rows.models[model]} within {PIVOT_HOURS} hours {since}",
            value=round(tested.value, 3),
            null=f"accounts then active, {share:.1%} of which do (hypergeometric, all times and models counted)",
            p_value=bounded(tested.p_value),
            summary=(
                f"{tested.value:.0%} of {tested.n} accounts turn to {rows.models[model]} within {PIVOT_HOURS} hours "
                f"{since}; {share:.1%} of all accounts do."
            ),
        )
    )


def pivot(
    account: NDArray[np.int32],
    model: NDArray[np.int32],
    time_us: NDArray[np.int64],
    inside: NDArray[np.bool_],
    releases: Mapping[int, int],
) -> tuple[Measured, int, int, float] | None:
    """The change of model that most stands out among the members, and the model, its time and the share of all.

    An account turns to a model with its first use of it, if it used another before. For a model with a release the
    `PIVOT_HOURS` after it are tested; for any other each stretch as long, in steps of half of it. Of the accounts
    active both before and after, those who turn are held against a draw of as many (hypergeometric), Bonferroni over
    all stretches in which two accounts of the window turn. None where no two members do.

    Args:
        account, model, time_us: of n exchanges in any order; model -1 where unknown.
        inside: bool[accounts].
        releases: model number -> microseconds.
    """
    who, what, when = _turns(account, model, time_us)
    width = PIVOT_HOURS * HOUR_US
    first = np.full(len(inside), np.iinfo(np.int64).max)
    last = np.zeros(len(inside), np.int64)
    np.minimum.at(first, account, time_us)
    np.maximum.at(last, account, time_us)
    tested: list[tuple[Measured, int, int, float]] = []
    tests = 0
    for number in np.unique(what).tolist():
        times = when[what == number]
        begins = [releases[number]] if number in releases else _stretches(times, width // 2)
        for begin in begins:
            at_risk = (first < begin + width) & (last >= begin)
            turned = np.zeros(len(inside), bool)
            turned[who[what == number][(times >= begin) & (times < begin + width)]] = True
            everywhere, here = int(turned.sum()), int((turned & inside).sum())
            tests += everywhere >= 2
            members, all_ = int((at_risk & inside).sum()), int(at_risk.sum())
            if here < 2:
                continue
            p_value = float(stats.hypergeom.sf(here - 1, all_, everywhere, members))
            share = everywhere / all_
            tested.append((Measured(here / members, share, p_value, members), number, begin, share))
    if not tested:
        return None
    best = min(tested, key=lambda found: found[0].p_value)
    return best[0]._replace(p_value=min(1.0, best[0].p_value * tests)), *best[1:]


def _stretches(times: NDArray[np.int64], step: int) -> list[int]:
    """Where stretches begin that hold any of the times, on a grid of steps: each time lies in two of them."""
    starts = np.unique(np.concatenate((times // step, times // step - 1)))
    return [int(start) * step for start in starts]


def _turns(
    account: NDArray[np.int32], model: NDArray[np.int32], time_us: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Account, model and time of every first use of a model by an account that used another before."""
    known = np.flatnonzero(model >= 0)
    order = known[np.lexsort((time_us[known], account[known]))]
    mine = account[order].astype(np.int64)
    _, first_ever = np.unique(mine, return_index=True)
    _, first_use = np.unique(mine * (int(model.max(initial=0)) + 1) + model[order], return_index=True)
    turns = order[np.setdiff1d(first_use, first_ever)]
    return account[turns], model[turns], time_us[turns]
