"""Steps 3, 4 and 6: test every candidate, control false discoveries, keep what says the same only once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from coterie.detection.candidates import Candidate
from coterie.detection.exchangeability import Exchangeability, exchangeability, permutation_z
from coterie.detection.items import Items
from coterie.detection.overlap import Overlap, overlap
from coterie.detection.parameters import Parameters
from coterie.detection.splitting import halves
from coterie.detection.trimming import trim
from coterie.domain import NeighbourGraph

BARE_SHARE_MIN = 0.5
"""Share of a pool's items that must have something left without boilerplate for that to be tested."""

SAME_PRINCIPALS = 0.5
"""Share of the smaller pool's principals that two pools have in common when they are parts of one campaign."""


@dataclass(frozen=True, slots=True)
class ViewData:
    """What the tests need of a view.

    Attributes:
        items: its items.
        graph: the neighbours of its texts.
        cores: its texts without boilerplate.
        bare: centred vectors of those, float32[b, dim]; without rows where the view has no boilerplate.
        bare_text: int32[m], row in `bare` of each of its texts, -1 where nothing is left of it.
    """

    items: Items
    graph: NeighbourGraph
    cores: Sequence[str]
    bare: NDArray[np.float32]
    bare_text: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A tested candidate.

    Attributes:
        items: its items after trimming, numbers in its view.
        principals: int32[...], sorted.
        counts: int64[...], items of each of them.
        p_value: of "C/W is at most the floor that innocent pools reach"; 1 where it could not be tested.
        reason: why it is not reported; empty when it is.
        mixed: only the labels speak against it, so it may be two lists.
    """

    origin: str
    view: str
    items: NDArray[np.int64]
    principals: NDArray[np.int32]
    counts: NDArray[np.int64]
    texts: int
    result: Exchangeability | None
    overlap: Overlap | None
    p_value: float
    reason: str
    mixed: bool = False


def judge(
    candidates: Sequence[Candidate],
    views: Mapping[str, ViewData],
    parameters: Parameters,
    *,
    step: Callable[[float], None],
) -> tuple[list[Verdict], list[Verdict]]:
    """Test all candidates; what is to be reported, strongest first and each campaign once, and all verdicts."""
    verdicts: list[Verdict] = []
    waiting = list(reversed(candidates))
    while waiting:
        step(min(1.0, len(verdicts) / len(candidates)))
        candidate = waiting.pop()
        view = views[candidate.view]
        verdict = test_candidate(candidate, view, parameters)
        verdicts.append(verdict)
        if verdict.mixed and (split := halves(view.items, verdict.items, between_max=1.0)):
            waiting += [replace(candidate, items=half) for half in split]
    verdicts = _control(verdicts, parameters)
    passed = [verdict for verdict in verdicts if not verdict.reason]
    chosen = _distinct(passed, views, parameters)
    return [part for verdict in chosen for part in _parts(verdict, views, parameters)], verdicts


def test_candidate(candidate: Candidate, view: ViewData, parameters: Parameters) -> Verdict:
    """Trim one candidate and hold it against every condition but the false discovery rate."""
    items = view.items
    pool = trim(items, candidate.items)
    texts = len(np.unique(items.text[pool.items]))
    result = pool.result
    counts = np.unique(items.principal[pool.items], return_counts=True)[1]
    p_value = 1.0 if result is None else innocence_p_value(result, len(pool.principals), parameters.ratio_floor)
    verdict = Verdict(
        candidate.origin, candidate.view, pool.items, pool.principals, counts, texts, result, None, p_value, ""
    )
    across_min = parameters.across_region_min if candidate.regional else parameters.across_min
    principals_min = parameters.principals_region_min if candidate.regional else parameters.principals_min
    reason = _shortfall(verdict, across_min, principals_min, parameters)
    if not reason and not pool.settled:
        reason = "half of its accounts had to be dropped and others still do not fit"
    if reason or result is None:
        return replace(verdict, reason=reason or "too little to test")
    hidden = _subjects_behind_template(verdict, view, parameters)
    if hidden:
        return replace(verdict, reason=hidden)
    mixed = False
    shared = overlap(items.principal[pool.items], items.text[pool.items], view.graph, view.cores)
    if shared.repeated > parameters.repeats_max:
        reason = (
            f"{shared.repeated:.0%} of its questions were asked by several of its accounts: "
            "a crowd with a common source, not slices of a list"
        )
    elif shared.rewrapped > parameters.rewrapped_max and shared.rewrapped_p_value < parameters.rewrapped_rate:
        reason = (
            f"{shared.rewrapped:.0%} of its questions were asked by several of its accounts in wrappings of their own: "
            "each works through the whole"
        )
    elif result.ratio < parameters.label_ratio_max and (z := label_z(verdict, view)) > parameters.label_z_max:
        mixed = True
        reason = f"shuffling who asked what is not without consequence (z {z:.1f}, at most {parameters.label_z_max:g})"
    return replace(verdict, overlap=shared, reason=reason, mixed=mixed)


def label_z(verdict: Verdict, view: ViewData) -> float:
    """z of the pool's similarity within accounts among all shufflings of the account labels."""
    items = view.items
    _, number = np.unique(items.principal[verdict.items], return_inverse=True)
    return permutation_z(items.vectors[items.text[verdict.items]], number)


def _subjects_behind_template(verdict: Verdict, view: ViewData, parameters: Parameters) -> str:
    """Why the pool is only a template that hides subjects of the accounts' own; empty where it is not.

    A template that makes up most of every prompt makes all of them alike, whoever asks. Without it, customers of one
    app are apart again; slices of a list are not.
    """
    items = view.items
    text = view.bare_text[items.text[verdict.items]]
    held = text >= 0
    if held.mean() < BARE_SHARE_MIN or not len(view.bare):
        return ""
    pairs = np.unique(np.column_stack((items.principal[verdict.items][held], text[held])), axis=0)
    _, number = np.unique(pairs[:, 0], return_inverse=True)
    result = exchangeability(view.bare[pairs[:, 1]], number)
    if result is None:
        return ""
    if result.across_high < parameters.across_min:
        return (
            f"without the template they share, its accounts ask no more alike than the general public "
            f"({result.across:.3f}, upper limit {result.across_high:.3f}, needed {parameters.across_min:.3f})"
        )
    if result.ratio_low >= parameters.ratio_floor:
        return ""
    return (
        f"without the template they share, its accounts are not shown to be interchangeable (C/W {result.ratio:.2f}, "
        f"lower limit {result.ratio_low:.2f}, needed {parameters.ratio_floor:.2f})"
    )


def innocence_p_value(result: Exchangeability, principals: int, floor: float) -> float:
    """p of "C/W is at most `floor`": one-sided t on the jackknife error with `principals` - 1 degrees of freedom."""
    error = max((result.ratio - result.ratio_low) / 1.645, 1e-6)
    return float(stats.t.sf((result.ratio - floor) / error, max(1, principals - 1)))


def _shortfall(verdict: Verdict, across_min: float, principals_min: int, parameters: Parameters) -> str:
    """The first condition that a tested pool misses, in words."""
    if len(verdict.principals) < principals_min:
        return f"{len(verdict.principals)} customers are left in its pool, {principals_min} make a campaign"
    if verdict.result is None:
        return "too few accounts with enough queries to test"
    if verdict.texts < parameters.texts_min:
        return f"{verdict.texts} distinct texts were harvested, {parameters.texts_min} are worth reporting"
    if verdict.result.across < across_min:
        return (
            f"its accounts ask no more alike than the general public "
            f"({verdict.result.across:.3f}, needed {across_min:.3f})"
        )
    if verdict.result.ratio_low < parameters.ratio_floor:
        return (
            f"its accounts keep subjects of their own (C/W {verdict.result.ratio:.2f}, "
            f"lower limit {verdict.result.ratio_low:.2f}, needed {parameters.ratio_floor:.2f})"
        )
    if verdict.result.ratio_low > parameters.ratio_ceiling:
        return (
            f"its queries are more alike across accounts than within (C/W {verdict.result.ratio:.2f}, "
            f"lower limit {verdict.result.ratio_low:.2f}, at most {parameters.ratio_ceiling:.2f})"
        )
    return ""


def _control(verdicts: list[Verdict], parameters: Parameters) -> list[Verdict]:
    """Benjamini-Hochberg over every candidate that could be tested."""
    tested = np.array([verdict.p_value for verdict in verdicts if verdict.result is not None])
    if not len(tested):
        return verdicts
    ordered = np.sort(tested)
    passed = ordered <= parameters.finding_rate * np.arange(1, len(ordered) + 1) / len(ordered)
    limit = float(ordered[passed][-1]) if passed.any() else 0.0
    return [
        replace(verdict, reason=f"p = {verdict.p_value:.2g} does not survive the control of false discoveries")
        if not verdict.reason and verdict.p_value > limit
        else verdict
        for verdict in verdicts
    ]


def _distinct(passed: list[Verdict], views: Mapping[str, ViewData], parameters: Parameters) -> list[Verdict]:
    """Every campaign once: the widest verdict stands for all that share its principals, if their union holds too."""
    chosen: list[Verdict] = []
    for verdict in sorted(passed, key=lambda v: (-v.texts, v.p_value, v.view, v.origin)):
        same = [
            index
            for index, other in enumerate(chosen)
            if len(np.intersect1d(other.principals, verdict.principals))
            >= SAME_PRINCIPALS * min(len(other.principals), len(verdict.principals))
        ]
        if not same:
            chosen.append(verdict)
            continue
        chosen[same[0]] = _united(chosen[same[0]], verdict, views, parameters)
    return chosen


def _united(first: Verdict, second: Verdict, views: Mapping[str, ViewData], parameters: Parameters) -> Verdict:
    """Both pools as one where that still passes; the first otherwise."""
    if first.view != second.view or len(np.setdiff1d(second.principals, first.principals)) == 0:
        return first
    both = Candidate(first.origin, first.view, np.union1d(first.items, second.items))
    union = test_candidate(both, views[first.view], parameters)
    grown = len(union.principals) > len(first.principals)
    return union if not union.reason and grown else first


def _parts(verdict: Verdict, views: Mapping[str, ViewData], parameters: Parameters) -> list[Verdict]:
    """The campaigns a pool is made of, where it is two and each of them passes on its own."""
    view = views[verdict.view]
    split = halves(view.items, verdict.items)
    if split is None:
        return [verdict]
    parts = [test_candidate(Candidate(verdict.origin, verdict.view, half), view, parameters) for half in split]
    if any(part.reason for part in parts):
        return [verdict]
    return [piece for part in parts for piece in _parts(part, views, parameters)]
