"""What every piece of evidence starts from: the pool, and the other customers it is held against.

A unit is a customer (`Principals`): an organisation counts once, so that its seats do not vouch for each other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.nulls import OTHERS_MIN
from coterie.detection.pools import Principals
from coterie.domain import Evidence, TextField, Window

P_VALUE_MIN = 1e-300
SHOWN_AT = 0.01
"""Significance below which evidence that not every campaign leaves is worth a line."""

UNITS_MIN = 4
"""Customers of a pool below which it is not compared with other customers."""

PEERS_PER_UNIT = 10
PEERS_MAX = 2_000

WORDS = {TextField.PROMPT: "questions", TextField.RESPONSE: "responses"}


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool as evidence sees it.

    Attributes:
        rows: int64[r], its exchanges in the window.
        accounts: int64[...], the accounts that sent them.
        texts: int64[...], the distinct raw texts among them.
    """

    window: Window
    principals: Principals
    rows: NDArray[np.int64]
    accounts: NDArray[np.int64]
    texts: NDArray[np.int64]

    @property
    def units(self) -> NDArray[np.int64]:
        """int64[...], the customers whose accounts these are."""
        return np.unique(self.principals.of_row[self.rows]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The exchanges of a pool beside as many of other customers each.

    Attributes:
        rows: int64[n], exchanges: the pool's, then those of its peers.
        unit: int64[n], whose each of them is, numbered from 0.
        member: bool[units], who is in the pool.
    """

    rows: NDArray[np.int64]
    unit: NDArray[np.int64]
    member: NDArray[np.bool_]

    @property
    def units(self) -> int:
        """Customers on both sides."""
        return len(self.member)

    def some(self, keep: NDArray[np.bool_]) -> "Comparison":
        """Only the rows to keep; who has none left stays, without rows."""
        return Comparison(self.rows[keep], self.unit[keep], self.member)

    def only(self, units: NDArray[np.bool_]) -> "Comparison":
        """Only the units to keep, numbered anew."""
        number = np.cumsum(units) - 1
        keep = units[self.unit]
        return Comparison(self.rows[keep], number[self.unit[keep]], self.member[units])

    @property
    def is_enough(self) -> bool:
        """Whether there are enough on both sides for a test of who is who."""
        members = int(self.member.sum())
        return members >= UNITS_MIN and self.units - members >= max(OTHERS_MIN, members)


def compare(pool: PoolView, *, seed: int) -> Comparison | None:
    """The pool beside its peers; None where it or they are too few.

    Peers are drawn at random from the other customers whose whole volume lies between half the smallest and twice the
    largest of the pool's, or is at least that of its smallest slice where these are too few. Of each as many exchanges
    are drawn as some member has in the pool, so that neither side is known better. Cost: linear in the window's rows,
    then in the pool.
    """
    of_row = pool.principals.of_row
    volume = np.bincount(of_row, minlength=pool.principals.count)
    units, slices = np.unique(of_row[pool.rows], return_counts=True)
    if len(units) < UNITS_MIN:
        return None
    rng = np.random.default_rng(seed)
    peers = _peers(volume, units, slices, rng)
    if len(peers) < max(OTHERS_MIN, len(units)):
        return None
    order = np.argsort(of_row, kind="stable")
    first = np.cumsum(volume) - volume
    drawn = []
    for peer in peers.tolist():
        mine = order[first[peer] : first[peer] + volume[peer]]
        drawn.append(rng.choice(mine, int(rng.choice(slices[slices <= len(mine)])), replace=False))
    rows = np.concatenate((pool.rows, *drawn))
    everybody = np.concatenate((units, peers))
    place = np.zeros(pool.principals.count, np.int64)
    place[everybody] = np.arange(len(everybody))
    return Comparison(rows, place[of_row[rows]], np.arange(len(everybody)) < len(units))


def _peers(
    volume: NDArray[np.int64], units: NDArray[np.int32], slices: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    outside = np.ones(len(volume), bool)
    outside[units] = False
    fit = outside & (volume >= slices.min())
    # To leave out who is heavier than most members would leave out the batch jobs that one of them may be.
    alike = fit & (volume >= volume[units].min() / 2) & (volume <= 2 * volume[units].max())
    wanted = min(PEERS_MAX, max(200, PEERS_PER_UNIT * len(units)))
    chosen = np.flatnonzero(alike if alike.sum() >= max(OTHERS_MIN, 3 * len(units)) else fit)
    return np.sort(rng.choice(chosen, min(wanted, len(chosen)), replace=False)) if len(chosen) else chosen


def shown(evidence: Evidence) -> Evidence | None:
    """The evidence where its p-value makes it worth a line."""
    return evidence if evidence.p_value is not None and evidence.p_value <= SHOWN_AT else None


def sent(field: TextField, verb: str) -> str:
    """What accounts do with the texts compared: the verb for prompts; responses they only receive."""
    return verb if field is TextField.PROMPT else "received"


def bounded(p_value: float) -> float:
    """A p-value that is never 0, which nothing proves."""
    return min(1.0, max(float(p_value), P_VALUE_MIN))
