"""Holds what findings stated against what reviewers decided, and says what follows, where there is enough to say it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from coterie.domain import (
    Calibration,
    Decision,
    FittedConfidence,
    LimitProposal,
    Rate,
    Reliability,
    ReliabilityBin,
)

BINS = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
"""Edges of the bins of confidence; the stated confidence ends at .99."""

DECISIONS_MIN = 30
"""Decisions from which limits and a fit are proposed."""

EACH_MIN = 5
"""Of those, at least so many confirmed and so many dismissed: without both, any limit keeps everything or nothing."""

LIMITS_TRIED = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
PRECISIONS = (0.9, 0.95, 0.99)
EVIDENCE_RATE = 0.01
"""p-value up to which a piece of evidence counts as there, as in findings."""

_LEVEL = 0.95
_BOOTSTRAPS = 400
_SEED = 0


def calibrate(decisions: Sequence[Decision], unknown: int = 0) -> Calibration:
    """Reliability, Brier score, rates by evidence; and, from enough decisions on, limits and an isotonic fit.

    What was decided is no random sample of what was found, and so neither is what follows.

    Args:
        decisions: one for each finding.
        unknown: decisions left out, see `Calibration`.
    """
    confirmed = sum(item.confirmed for item in decisions)
    groups = [_reliability("all", decisions)] if decisions else []
    kinds = sorted({item.kind for item in decisions})
    groups += [_reliability(kind, [item for item in decisions if item.kind == kind]) for kind in kinds]
    enough = len(decisions) >= DECISIONS_MIN and min(confirmed, len(decisions) - confirmed) >= EACH_MIN
    return Calibration(
        _verdict(decisions, confirmed, enough),
        len(decisions),
        confirmed,
        unknown,
        tuple(groups),
        tuple(_evidence(decisions)),
        tuple(_proposal(decisions, precision) for precision in PRECISIONS) if enough else (),
        tuple(_fit(decisions)) if enough else (),
    )


def jeffreys(name: str, confirmed: int, count: int, level: float = _LEVEL) -> Rate:
    """A share with its interval: quantiles of Beta(k + 1/2, n - k + 1/2), whose ends are 0 for k = 0 and 1 for k = n.

    Brown, Cai and DasGupta (2001), Interval Estimation for a Binomial Proportion.
    """
    from scipy.stats import beta

    if not count:
        return Rate(name, 0, 0, 0.0, 0.0, 1.0)
    tail = (1 - level) / 2
    low, high = beta.ppf([tail, 1 - tail], confirmed + 0.5, count - confirmed + 0.5).tolist()
    return Rate(
        name, count, confirmed, confirmed / count, 0.0 if not confirmed else low, 1.0 if confirmed == count else high
    )


def _verdict(decisions: Sequence[Decision], confirmed: int, enough: bool) -> str:
    dismissed = len(decisions) - confirmed
    if not enough:
        return (
            f"Too few decisions to propose anything: {len(decisions)} of at least {DECISIONS_MIN}, {confirmed} "
            f"confirmed and {dismissed} dismissed of at least {EACH_MIN} each. The intervals say how little is known."
        )
    return (
        f"{len(decisions)} decisions, {confirmed} confirmed. Proposals are for a person to weigh: what was decided is "
        "no random sample of what was found, and nothing is changed by itself."
    )


def _reliability(name: str, decisions: Sequence[Decision]) -> Reliability:
    stated = np.array([item.confidence for item in decisions])
    true = np.array([item.confirmed for item in decisions], float)
    bins = []
    for low, high in pairwise(BINS):
        inside = (stated >= low) & ((stated < high) | (high == BINS[-1]))
        mean = float(stated[inside].mean()) if inside.any() else 0.0
        rate = jeffreys(f"{low:g} to {high:g}", int(true[inside].sum()), int(inside.sum()))
        bins.append(ReliabilityBin(low, high, mean, rate))
    return Reliability(
        name,
        len(decisions),
        int(true.sum()),
        float(np.mean((stated - true) ** 2)),
        float(np.mean((true.mean() - true) ** 2)),
        tuple(bins),
    )


def _evidence(decisions: Sequence[Decision]) -> list[Rate]:
    rates = []
    for name in sorted({name for item in decisions for name in item.evidence}):
        having = [item for item in decisions if name in item.evidence and _counts(item.evidence[name])]
        rates.append(jeffreys(name, sum(item.confirmed for item in having), len(having)))
    return [rate for rate in rates if rate.count]


def _counts(p_value: float | None) -> bool:
    return p_value is None or p_value <= EVIDENCE_RATE


def _proposal(decisions: Sequence[Decision], precision: float) -> LimitProposal:
    """The lowest limit whose lower end, by Bonferroni over all limits tried, is at least the precision."""
    level = 1 - (1 - _LEVEL) / len(LIMITS_TRIED)
    for limit in LIMITS_TRIED:
        kept = [item for item in decisions if item.confidence >= limit]
        rate = jeffreys(f"at least {limit:g}", sum(item.confirmed for item in kept), len(kept), level)
        if rate.low >= precision:
            lost = sum(item.confirmed for item in decisions) - rate.confirmed
            return LimitProposal(precision, limit, rate, lost)
    return LimitProposal(precision, None, jeffreys("none", 0, 0), 0)


def _fit(decisions: Sequence[Decision]) -> list[FittedConfidence]:
    """Isotonic regression of the outcome on the stated confidence, where decisions lie around it."""
    stated = np.array([item.confidence for item in decisions])
    true = np.array([item.confirmed for item in decisions], float)
    at = np.array([limit for limit in LIMITS_TRIED if stated.min() <= limit <= stated.max()])
    if not at.size:
        return []
    rng = np.random.default_rng(_SEED)
    draws = rng.integers(0, len(decisions), (_BOOTSTRAPS, len(decisions)))
    fits = np.array([_isotonic(stated[draw], true[draw], at) for draw in draws])
    low, high = np.quantile(fits, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    columns = (at, _isotonic(stated, true, at), low, high)
    return [FittedConfidence(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _isotonic(stated: NDArray[np.float64], true: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The fit at some places, float64[n]: pooled adjacent violators over distinct values, linear between them."""
    from scipy.optimize import isotonic_regression

    values, inverse, counts = np.unique(stated, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, true) / counts
    fitted = isotonic_regression(means, weights=counts).x
    found: NDArray[np.float64] = np.interp(at, values, fitted)
    return found
