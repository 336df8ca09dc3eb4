"""Step 9: between runs, a new text joins a family by its least mutual-reachability neighbour."""

import numpy as np
from numpy.typing import NDArray

from coterie.detection.families import DISTANCE_FLOOR

_ROUNDING = 1e-5
"""Distances come from float32 cosines of two routes; a gate at the floor must still let in what lies at the floor."""


def join_families(
    similarities: NDArray[np.float32],
    exchanges: NDArray[np.int64],
    family: NDArray[np.int32],
    core_distance: NDArray[np.float32],
    gate_distance: NDArray[np.float32],
    min_samples: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Put q new texts into families, given the k nearest texts of each.

    Mutual reachability to neighbour j is max(core, core_j, d_j), core being the distance within which `min_samples`
    other exchanges lie, as in the run. The neighbour in a family for which it is least decides, the nearer one of
    equals; the text joins when it is no more than that family's gate. (A vote among neighbours lets in more than twice
    the background.)

    Args:
        similarities: float32[q, k], cosines, descending.
        exchanges: int64[q, k], exchanges that each neighbour stands for; 0 for what must not count, such as padding.
        family: int32[q, k], the neighbours' families, -1 for none.
        core_distance: float32[q, k], theirs in the run; any number where `family` is -1.
        gate_distance: float32[f], see `Family`.
        min_samples: exchanges that make a place dense; those of the run.

    Returns:
        family: int32[q], -1 for none.
        distance: float32[q], mutual reachability to the neighbour that decided; inf where there was none.
    """
    q, k = similarities.shape
    if q == 0 or k == 0 or not len(gate_distance):
        return np.full(q, -1, np.int32), np.full(q, np.inf, np.float32)
    distance = np.sqrt(np.maximum(2.0 - 2.0 * similarities.astype(np.float64), 0.0))
    reached = np.cumsum(exchanges, axis=1) >= min_samples
    rows = np.arange(q)
    core = np.where(reached.any(axis=1), distance[rows, np.argmax(reached, axis=1)], np.inf)
    core = np.maximum(core, DISTANCE_FLOOR)
    mutual = np.maximum(np.maximum(distance, core_distance), core[:, None])
    mutual = np.where(family >= 0, mutual, np.inf)
    best = np.argmin(mutual, axis=1)
    least, chosen = mutual[rows, best], family[rows, best]
    # -1 picks the last gate, but its distance is inf.
    joins = np.isfinite(least) & (least <= gate_distance[chosen] + _ROUNDING)
    return np.where(joins, chosen, -1).astype(np.int32), least.astype(np.float32)
