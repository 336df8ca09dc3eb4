"""Several parameter sets on one graph: how many families each gives, and how far they agree."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from coterie.detection.families import find_families
from coterie.detection.parameters import Parameters
from coterie.domain import CancelledRunError, Window


def compare_sets(
    window: Window, sets: Sequence[Parameters], *, cancelled: Callable[[], bool] | None = None
) -> dict[str, float]:
    """Measures of the raw view's families under each set, for the record of a run.

    For the set numbered n from 1: `sets.<n>.families`, `sets.<n>.clustered` (share of distinct texts in a family) and,
    from the second, `sets.<n>.agreement` with the first. Cost: one spanning tree and tree cut a set.

    Raises:
        CancelledRunError: `cancelled` said so, between two sets.
    """
    view = window.raw
    multiplicity = np.maximum(np.bincount(view.text, minlength=len(view.vectors)), 1).astype(np.int64)
    measures: dict[str, float] = {}
    first: NDArray[np.int32] | None = None
    for number, parameters in enumerate(sets, start=1):
        if cancelled is not None and cancelled():
            raise CancelledRunError("cancelled while comparing parameter sets")
        families = find_families(
            view.graph,
            multiplicity,
            min_samples=parameters.min_samples,
            min_cluster_size=parameters.min_cluster_size,
        )
        measures[f"sets.{number}.families"] = float(families.count)
        measures[f"sets.{number}.clustered"] = float(np.mean(families.label >= 0))
        if first is None:
            first = families.label
        else:
            measures[f"sets.{number}.agreement"] = adjusted_rand_index(first, families.label)
    return measures


def adjusted_rand_index(first: NDArray[np.int32], second: NDArray[np.int32]) -> float:
    """Agreement of two labellings int32[m] of the same texts: 1 the same, about 0 as chance has it.

    Noise (-1) is taken for a group of its own. Hubert and Arabie 1985, equation 5; two labellings that are both of one
    group, or both of single texts, agree fully.
    """
    _, rows = np.unique(first, return_inverse=True)
    _, columns = np.unique(second, return_inverse=True)
    _, together = np.unique(rows.astype(np.int64) * (int(columns.max(initial=0)) + 1) + columns, return_counts=True)
    both = _pairs(together)
    in_first, in_second = _pairs(np.bincount(rows)), _pairs(np.bincount(columns))
    every = _pairs(np.array([len(first)]))
    expected = in_first * in_second / every if every else 0.0
    most = (in_first + in_second) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def _pairs(counts: NDArray[np.int64]) -> float:
    sizes = counts.astype(np.float64)
    return float((sizes * (sizes - 1) / 2).sum())
