"""Benchmarks that nobody registered: told by what is asked, and by how it is asked.

Two shapes are looked for. A *run*: one customer that goes through items one after the other at a pace that people do
not have. A *family across accounts*: a cluster nearly all of whose prompts are built like test items and that several
customers ask, hardly any of them twice; learners who draw from a common bank repeat each other. Neither says that
accounts act together: that is tested elsewhere, and who is accused there is left out here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.parameters import Parameters
from coterie.detection.pools import BenchmarkHits, Principals
from coterie.detection.text_facts import TextFacts
from coterie.domain import TextField, Window

FOLLOWED_MIN = 0.8
"""Share of its items that a run follows with another: less, and they are some of what the customer asks."""

GAP_MAX_S = 60.0
"""Median seconds between items of a run. People who ask 50 and more of them take 97 and more."""

GAP_RATIO_MAX = 5.0
"""The ninth decile of those gaps over their median, for runs that are spread out evenly. People come and go: 10 and
more, runs without rests 3."""

ITEM_SHARE_MIN = 0.9
"""Share of a family's texts that are built like items."""

SAME_CUSTOMERS = 0.5
"""Share of the smaller family's customers by which two families are parts of one."""


@dataclass(frozen=True, slots=True)
class Run:
    """One customer's items, asked one after the other.

    Attributes:
        rows: int64[r], the exchanges.
        gap_s: median seconds between them.
    """

    principal: int
    rows: NDArray[np.int64]
    gap_s: float


@dataclass(frozen=True, slots=True)
class Scattered:
    """A family, or several with the same customers, whose items are hardly asked twice.

    Attributes:
        rows: int64[r], the exchanges.
        repeats: share of its texts that several customers sent.
    """

    rows: NDArray[np.int64]
    repeats: float


@dataclass(frozen=True, slots=True)
class BenchmarkLike:
    """What was found.

    Attributes:
        form: int8[m], number in `FORMS` of each distinct text that was looked at, -1 for none.
        looked_at: bool[m], texts that could be part of a run or of a family.
    """

    runs: tuple[Run, ...]
    scattered: tuple[Scattered, ...]
    form: NDArray[np.int8]
    looked_at: NDArray[np.bool_]


def find_benchmark_like(
    window: Window,
    principals: Principals,
    facts: TextFacts,
    family: NDArray[np.int32],
    hits: Sequence[BenchmarkHits],
    accused: NDArray[np.bool_],
    parameters: Parameters,
) -> BenchmarkLike:
    """The unregistered benchmark-like runs and families of a window. Of responses nothing is said.

    Cost: linear in exchanges, and in the characters of the texts of large customers and of families.

    Args:
        facts: of the window's texts.
        family: int32[m], family of each distinct text, -1 for none.
        hits: registered items are left out: they have findings of their own.
        accused: bool[principals], those already in a campaign.
    """
    text, of_row = window.raw.text, principals.of_row
    form = np.full(len(window.texts), -1, np.int8)
    looked_at = np.zeros(len(window.texts), bool)
    if window.slice.field is not TextField.PROMPT:
        return BenchmarkLike((), (), form, looked_at)
    known = np.zeros(len(window.texts), bool)
    for hit in hits:
        known |= hit.item >= 0
    free = np.flatnonzero(~accused[of_row] & ~known[text])
    width = len(window.texts)
    asked = np.bincount(np.unique(of_row[free].astype(np.int64) * width + text[free]) // width, minlength=len(accused))
    large = asked >= parameters.run_items_min
    looked_at[text[free[large[of_row[free]] | (family[text[free]] >= 0)]]] = True
    form[looked_at] = facts.item_forms(np.flatnonzero(looked_at))
    runs = _runs(window, free[large[of_row[free]]], of_row, form, parameters)
    running = np.zeros(len(accused), bool)
    running[[run.principal for run in runs]] = True
    scattered = _scattered(text, free[~running[of_row[free]]], of_row, form, family, parameters)
    return BenchmarkLike(tuple(runs), tuple(scattered), form, looked_at)


def _runs(
    window: Window,
    rows: NDArray[np.int64],
    of_row: NDArray[np.int32],
    form: NDArray[np.int8],
    parameters: Parameters,
) -> list[Run]:
    """Customers with enough items, most of them in a row, at a machine's pace. Rows are in order of time."""
    ordered = rows[np.argsort(of_row[rows], kind="stable")]
    found = []
    for mine in np.split(ordered, np.flatnonzero(np.diff(of_row[ordered])) + 1):
        item = form[window.raw.text[mine]] >= 0
        asked = mine[item]
        if len(np.unique(window.raw.text[asked])) < parameters.run_items_min:
            continue
        followed = float((item[1:] & item[:-1]).sum() / max(1, item[:-1].sum()))
        middle, late = np.quantile(np.diff(window.rows.time_us[asked]) / 1e6, (0.5, 0.9)).tolist()
        if followed >= FOLLOWED_MIN and (middle <= GAP_MAX_S or late <= GAP_RATIO_MAX * middle):
            found.append(Run(int(of_row[mine[0]]), asked, middle))
    return found


def _scattered(
    text: NDArray[np.int32],
    rows: NDArray[np.int64],
    of_row: NDArray[np.int32],
    form: NDArray[np.int8],
    family: NDArray[np.int32],
    parameters: Parameters,
) -> list[Scattered]:
    """Families of items that several customers ask and hardly repeat, those of the same customers together."""
    rows = rows[family[text[rows]] >= 0]
    ordered = rows[np.argsort(family[text[rows]], kind="stable")]
    parts: list[tuple[NDArray[np.int64], NDArray[np.int32]]] = []
    for mine in np.split(ordered, np.flatnonzero(np.diff(family[text[ordered]])) + 1):
        units = np.unique(of_row[mine])
        texts = np.unique(text[mine])
        enough = len(units) >= parameters.principals_min and (form[texts] >= 0).mean() >= ITEM_SHARE_MIN
        if enough and _repeats(text[mine], of_row[mine]) <= parameters.repeats_max:
            parts.append((mine, units))
    found = []
    for joined in _joined(parts):
        if len(np.unique(text[joined])) >= parameters.run_items_min:
            repeats = _repeats(text[joined], of_row[joined])
            if repeats <= parameters.repeats_max:
                found.append(Scattered(np.sort(joined), repeats))
    return found


def _repeats(text: NDArray[np.int32], unit: NDArray[np.int32]) -> float:
    """Share of the distinct texts that several units sent; 0 of nothing."""
    pairs = np.unique(np.column_stack((text, unit)), axis=0)
    holders = np.unique(pairs[:, 0], return_counts=True)[1]
    return float((holders > 1).mean()) if len(holders) else 0.0


def _joined(parts: list[tuple[NDArray[np.int64], NDArray[np.int32]]]) -> list[NDArray[np.int64]]:
    """The parts' rows, those with the same customers together: largest first, each part joins the first that fits."""
    groups: list[tuple[list[NDArray[np.int64]], NDArray[np.int32]]] = []
    for rows, units in sorted(parts, key=lambda part: (-len(part[0]), int(part[0][0]))):
        for number, (held, customers) in enumerate(groups):
            common = len(np.intersect1d(customers, units, assume_unique=True))
            if common >= SAME_CUSTOMERS * min(len(customers), len(units)):
                groups[number] = [*held, rows], np.union1d(customers, units)
                break
        else:
            groups.append(([rows], units))
    return [np.concatenate(held) for held, _ in groups]
