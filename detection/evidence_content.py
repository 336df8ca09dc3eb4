"""What the accounts of a pool ask: everything, a narrow stretch each, how to reason, test items; in one format."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.evidence_pool import UNITS_MIN, Comparison, PoolView, bounded, shown
from coterie.detection.formats import standardised
from coterie.detection.nulls import (
    ALL_DRAWS,
    FIRST_DRAWS,
    OTHERS_MIN,
    Measured,
    apartness,
    excess_test,
    mean_columns,
    rank_test,
    set_test,
)
from coterie.detection.text_facts import TextFacts
from coterie.domain import Evidence

PEERS_NEAREST = 2
TEXTS_MIN = 5
"""Distinct texts of a customer without which nothing is said of its subjects or its manner."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The distinct texts of a pool and of its peers, once for each customer, without boilerplate.

    Attributes:
        comparison: whose they are; a row for each (customer, text).
        raw: int64[n], which of the window's texts each is.
        facts: of the window's texts.
        area: int64[n], the subject area of each.
    """

    comparison: Comparison
    raw: NDArray[np.int64]
    facts: TextFacts
    area: NDArray[np.int64]


def read_contents(pool: PoolView, comparison: Comparison, facts: TextFacts) -> Contents | None:
    """What is to be compared; None where either side has too few customers with enough to say."""
    raw = pool.window.raw.text[comparison.rows].astype(np.int64)
    has = facts.has_core[raw]
    _, first = np.unique(np.where(has, comparison.unit * (raw.max(initial=0) + 1) + raw, -1), return_index=True)
    once = np.zeros(len(raw), bool)
    once[first] = True
    keep = once & has
    kept, raw = comparison.some(keep), raw[keep]
    enough = np.bincount(kept.unit, minlength=kept.units) >= TEXTS_MIN
    raw, kept = raw[enough[kept.unit]], kept.only(enough)
    if not kept.is_enough:
        return None
    return Contents(kept, raw, facts, facts.area[raw])


def content_evidence(contents: Contents, *, seed: int) -> list[Evidence]:
    """One format, many subjects an account or one stretch of them each, and what is asked for."""
    comparison = contents.comparison
    features = standardised(contents.facts.formats(contents.raw))
    uniform = format_uniformity(features, comparison, seed=seed)
    found = [
        _format_evidence(uniform),
        _sweep_evidence(contents),
        _stretches_evidence(contents, uniform, seed=seed),
        _elicitation_evidence(contents, seed=seed),
        _item_form_evidence(contents, seed=seed),
    ]
    return [item for item in found if item]


def format_uniformity(features: NDArray[np.floating], comparison: Comparison, *, seed: int) -> Measured:
    """Are the members' manners of writing more alike than those of others who write much like them?

    The statistic is the mean squared distance between two units' mean features without the noise of either: the
    between-unit component of variance. Its null is who is a member, among the members and the peers whose mean format
    is nearest to theirs, `PEERS_NEAREST` for each member. Against customers at random everybody would be uniform who
    writes short questions, say the users of one app; among others who write short questions they are not. To choose
    near peers makes the p-value too large rather than too small.

    Args:
        features: float[n, f], of texts without boilerplate.
    """
    columns, _ = mean_columns(features, comparison.unit, comparison.units)
    member = comparison.member
    means = columns[:, 2:]
    distance = ((means - means[member].mean(axis=0)) ** 2).sum(axis=1)
    peers = np.flatnonzero(~member)
    wanted = max(OTHERS_MIN, PEERS_NEAREST * int(member.sum()))
    near = peers[np.argsort(distance[peers], kind="stable")[:wanted]]
    chosen = np.concatenate((np.flatnonzero(member), near))
    return set_test(columns[chosen], member[chosen], apartness, seed=seed)


def _format_evidence(tested: Measured) -> Evidence | None:
    return shown(
        Evidence(
            name="format_uniformity",
            statistic="mean squared distance between two accounts' manners of writing (length, signs, lines, casing)",
            value=round(tested.value, 3),
            null=f"as many of those who write most like them, {ALL_DRAWS} times: {tested.expected:.2f} in the middle",
            p_value=bounded(tested.p_value),
            summary=(
                f"Without boilerplate, {tested.n} accounts write in one format: their manners differ by "
                f"{max(0.0, tested.value):.2f}, where {tested.expected:.2f} is usual."
            ),
        )
    )


def _sweep_evidence(contents: Contents) -> Evidence | None:
    tested = capability_sweep(contents.area, contents.comparison)
    if tested is None:
        return None
    members = contents.comparison.member[contents.comparison.unit]
    areas = len(np.unique(contents.area[members]))
    return shown(
        Evidence(
            name="capability_sweep",
            statistic="probability that an account of the pool spreads over more subject areas than another customer",
            value=round(tested.value, 3),
            null="chance that two texts of one customer are of one area, by ranks over customers: 0.5",
            p_value=bounded(tested.p_value),
            summary=(
                f"Each account spreads over more subjects than {tested.value:.0%} of other customers; together they "
                f"cover {areas} of {int(contents.area.max()) + 1} areas."
            ),
        )
    )


def capability_sweep(area: NDArray[np.int64], comparison: Comparison) -> Measured | None:
    """Do the members' texts spread over more areas than those of others (unbiased Simpson index, by ranks)?"""
    columns, _ = mean_columns(np.eye(int(area.max(initial=0)) + 1)[area], comparison.unit, comparison.units)
    inside, outside = columns[comparison.member, 0], columns[~comparison.member, 0]
    if min(len(inside), len(outside)) < UNITS_MIN:
        return None
    return rank_test(-inside, -outside)


def _stretches_evidence(contents: Contents, uniform: Measured, *, seed: int) -> Evidence | None:
    tested = subject_stretches(contents.area, contents.comparison, uniform, seed=seed)
    return shown(
        Evidence(
            name="subject_stretches",
            statistic="chance that two texts of one account are of one subject area, over that of two accounts",
            value=round(tested.value, 2),
            null="subjects shuffled over accounts, and manners as of others who write alike: the larger p counts",
            p_value=bounded(tested.p_value),
            summary=(
                f"Each account keeps to subjects of its own ({tested.value:.1f} times as often alike within an account "
                "as across), yet all write in one format: a list dealt out in order."
            ),
        )
    )


def subject_stretches(area: NDArray[np.int64], comparison: Comparison, uniform: Measured, *, seed: int) -> Measured:
    """Are subjects the accounts' own although the format is not?

    An intersection-union test: the larger of two p-values is valid for "one of the two does not hold" (Berger 1982).
    The first is that of pairs of one area within accounts, had the areas been shuffled over the pool's texts.
    """
    members = comparison.member[comparison.unit]
    _, unit = np.unique(comparison.unit[members], return_inverse=True)
    _, mine = np.unique(area[members], return_inverse=True)
    width = int(mine.max(initial=0)) + 1
    rng = np.random.default_rng(seed)
    pairs = [_pairs_within(unit, mine, width)]
    p_value = 1.0
    for until in (FIRST_DRAWS, ALL_DRAWS):
        while len(pairs) <= until:
            pairs.append(_pairs_within(unit, rng.permutation(mine), width))
        p_value = float((np.array(pairs) >= pairs[0]).mean())
        if p_value > 0.05:
            break
    size, total = np.bincount(unit).astype(float), np.bincount(mine).astype(float)
    within = pairs[0] / (size * (size - 1)).sum()
    across = ((total * (total - 1)).sum() - pairs[0]) / max(1.0, size.sum() ** 2 - (size**2).sum())
    return Measured(float(within / max(across, 1e-9)), 1.0, max(p_value, uniform.p_value), len(size))


def _pairs_within(unit: NDArray[np.int64], area: NDArray[np.int64], width: int) -> float:
    cells = np.bincount(unit * width + area)
    return float((cells * (cells - 1)).sum())


def _elicitation_evidence(contents: Contents, *, seed: int) -> Evidence | None:
    tested = elicitation(contents, seed=seed)
    if tested is None:
        return None
    return shown(
        Evidence(
            name="elicitation",
            statistic="share of prompts that ask for worked reasoning, grading, preferences or training data",
            value=round(tested.value, 4),
            null=f"the rate of other customers, {tested.expected:.1%}, by customer ({ALL_DRAWS} draws of as many)",
            p_value=bounded(tested.p_value),
            summary=(
                f"{tested.value:.0%} of their prompts ask for worked reasoning, grading, preferences or training data; "
                f"{tested.expected:.1%} of other customers' do."
            ),
        )
    )


def elicitation(contents: Contents, *, seed: int) -> Measured | None:
    """Do the members' prompts elicit more often than others', as they were sent? None below `TEXTS_MIN` hits."""
    return _excess(contents.facts.elicits(contents.raw), contents.comparison, seed=seed)


def _item_form_evidence(contents: Contents, *, seed: int) -> Evidence | None:
    tested = item_forms(contents, seed=seed)
    if tested is None:
        return None
    return shown(
        Evidence(
            name="item_form",
            statistic="share of prompts with options, a gap, a program to specification, or a sum in words",
            value=round(tested.value, 4),
            null=f"the rate of other customers, {tested.expected:.1%}, by customer ({ALL_DRAWS} draws of as many)",
            p_value=bounded(tested.p_value),
            summary=(
                f"{tested.value:.0%} of their prompts are built like test items; {tested.expected:.1%} of other "
                "customers' are."
            ),
        )
    )


def item_forms(contents: Contents, *, seed: int) -> Measured | None:
    """Are the members' prompts, without boilerplate, built like test items more often than others'?"""
    return _excess(contents.facts.item_forms(contents.raw) >= 0, contents.comparison, seed=seed)


def _excess(hit: NDArray[np.bool_], comparison: Comparison, *, seed: int) -> Measured | None:
    """Of rows that are hits more than others have? None below `TEXTS_MIN` hits."""
    hits = np.bincount(comparison.unit, weights=hit, minlength=comparison.units).astype(np.int64)
    asked = np.bincount(comparison.unit, minlength=comparison.units)
    if hits[comparison.member].sum() < TEXTS_MIN:
        return None
    return excess_test(hits, asked, comparison.member, seed=seed)
