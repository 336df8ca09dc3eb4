"""Limits of the baselines, fixed on null traffic of the tuning half: text and seeds that no test scenario has."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.detection import baselines, mmd
from bench.detection.mmd import Reference
from bench.detection.trial import Trial
from bench.detection.vectors import VectorCache
from coterie.simulation import Config, Split

SEEDS = (101, 102, 103)
"""The first gives the reference of the MMD test, the others every limit."""

ACCUSED_SHARE = 0.01
"""Share of innocent customers, or of MMD windows, that may lie above a limit: what coterie is held to."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A customer is accused by what lies above: a pair's cosine, a community's score, a pair's number of co-actions.

    Attributes:
        mmd: by queries in a window and their order.
        reference: benign queries of the MMD test.
    """

    account_twins: float
    coaction: float
    communities: float
    mmd: dict[tuple[int, str], float]
    reference: Reference

    def to_json(self) -> dict[str, Any]:
        """What can be read; the reference is left out."""
        return {
            "account_twins": self.account_twins,
            "coaction": self.coaction,
            "communities": self.communities,
            "mmd": {f"{size:,} {order}": limit for (size, order), limit in self.mmd.items()},
            "fixed_on": f"null traffic of the tuning half, seeds {', '.join(map(str, SEEDS[1:]))}, at most "
            f"{ACCUSED_SHARE:.0%} of the innocent above",
        }


def fix_limits(base: Config, cache: VectorCache, accounts: int = 400) -> Limits:
    """Draw null traffic and take the quantiles."""
    split: Split = "tune-sources" if base.split.endswith("-sources") else "tune"
    config = replace(base, mix="null", campaigns=None, accounts=accounts, split=split)
    trials = [Trial(replace(config, seed=seed), cache) for seed in SEEDS]
    first = trials[0].window
    reference = mmd.make_reference(first.raw.vectors[first.raw.text], SEEDS[0])
    best: dict[str, list[NDArray[np.float64]]] = {"account_twins": [], "coaction": [], "communities": []}
    statistics: dict[tuple[int, str], list[NDArray[np.float64]]] = {test: [] for test in mmd.TESTS}
    for trial in trials[1:]:
        window = trial.window
        count = len(baselines.principals(window)[0])
        for name, method in baselines.PAIR_METHODS.items():
            best[name].append(baselines.best_of_principals(method(window), count))
        best["communities"].append(baselines.best_of_members(baselines.link_communities(window), count))
        for size, order in mmd.TESTS:
            text = window.raw.text[mmd.arranged(window.rows.size, order)]
            statistics[size, order].append(mmd.window_statistics(window.raw.vectors[text], reference, size))
    return Limits(
        # Who is joined to nobody stands at zero.
        **{name: _upper(np.maximum(np.concatenate(values), 0.0)) for name, values in best.items()},
        mmd={test: _upper(np.concatenate(values)) for test, values in statistics.items()},
        reference=reference,
    )


def _upper(values: NDArray[np.float64]) -> float:
    """The value that at most `ACCUSED_SHARE` lie above.

    Raises:
        ValueError: there is none to go by.
    """
    if not len(values):
        raise ValueError("too little null traffic to fix a limit on: ask for more accounts")
    return float(np.sort(values)[::-1][int(ACCUSED_SHARE * len(values))])
