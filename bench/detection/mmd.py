"""The windowed MMD test of arXiv 2606.05725: is the latest traffic distributed as benign traffic was?

A window of queries in order of time is held against a fixed reference of benign queries by the unbiased squared MMD
with a Gaussian kernel (Gretton et al. 2012), bandwidth the median distance within the reference. It names no accounts.
The paper draws its windows at random from benign and attack queries; traffic comes in bursts. Both are tested.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coterie.domain import Window
from coterie.simulation import Traffic

WINDOW_QUERIES = (1_500, 100)
"""The window sizes that the paper reports."""

ORDERS = ("in order of time", "drawn at random")
TESTS = tuple((size, order) for size in WINDOW_QUERIES for order in ORDERS)
REFERENCE_QUERIES = 2_000
MIXES = (0.0, 0.025, 0.075, 0.15, 0.3, 1.0)
"""Edges of the shares of campaign queries in a window by which detection is reported."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Benign queries to compare with.

    Attributes:
        vectors: float32[n, dim].
        gamma: the kernel's factor, 1 over the median squared distance.
        own: mean of the kernel over pairs of them.
    """

    vectors: NDArray[np.float32]
    gamma: float
    own: float


def make_reference(queries: NDArray[np.float32], seed: int) -> Reference:
    """A sample of benign queries with the bandwidth by the median heuristic."""
    drawn = np.random.default_rng(seed).permutation(len(queries))[:REFERENCE_QUERIES]
    vectors = queries[drawn]
    distances = _squared_distances(vectors, vectors)[np.triu_indices(len(vectors), 1)]
    gamma = 1 / max(float(np.median(distances)), 1e-9)
    return Reference(vectors, gamma, _mean_of_pairs(_kernel(vectors, vectors, gamma)))


def window_statistics(queries: NDArray[np.float32], reference: Reference, size: int) -> NDArray[np.float64]:
    """float64[n // size]: the unbiased squared MMD of successive windows; what is left over at the end is not tested.

    Args:
        queries: float32[n, dim], in order of time.
    """
    found = []
    for start in range(0, len(queries) - size + 1, size):
        part = queries[start : start + size]
        own = _mean_of_pairs(_kernel(part, part, reference.gamma))
        found.append(own + reference.own - 2 * _kernel(part, reference.vectors, reference.gamma).mean())
    return np.asarray(found, np.float64)


def arranged(rows: int, order: str) -> NDArray[np.int64]:
    """int64[rows]: the order in which queries are cut into windows; drawn from a fixed seed where it is random."""
    return np.arange(rows) if order == ORDERS[0] else np.random.default_rng(rows).permutation(rows)


def window_test(
    window: Window, traffic: Traffic, reference: Reference, limits: dict[tuple[int, str], float]
) -> dict[str, dict[str, Any]]:
    """For each window size and order, how many windows are flagged by their share of campaign queries.

    `recall_upper_bound` is the account recall of an oracle that knows the culprits of every flagged window: the test
    names no accounts, so that is the most that could be made of it. Its precision would be 1 by construction.
    """
    guilty_account = np.array([traffic.truth[name]["label"] != "benign" for name in window.rows.account_ids])
    results = {}
    for size, order in TESTS:
        row = arranged(window.rows.size, order)
        account = window.rows.account[row]
        guilty = guilty_account[account]
        statistic = window_statistics(window.raw.vectors[window.raw.text[row]], reference, size)
        flagged = statistic > limits[size, order]
        tested = len(statistic) * size
        mix = guilty[:tested].reshape(-1, size).mean(axis=1)
        named = np.unique(account[:tested][guilty[:tested] & np.repeat(flagged, size)])
        results[f"{size:,} {order}"] = {
            "windows": len(statistic),
            "flagged": int(flagged.sum()),
            "by_mix": _by_mix(mix, flagged),
            "recall_upper_bound": len(named) / int(guilty_account.sum()) if guilty_account.any() else None,
        }
    return results


def _by_mix(mix: NDArray[np.float64], flagged: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Windows and flagged windows: without campaign queries first, then by their share."""
    clean = mix == 0
    rows: list[dict[str, float]] = [
        {"above": 0.0, "up_to": 0.0, "windows": int(clean.sum()), "flagged": int(flagged[clean].sum())}
    ]
    for low, high in pairwise(MIXES):
        inside = (mix > low) & (mix <= high)
        rows.append({"above": low, "up_to": high, "windows": int(inside.sum()), "flagged": int(flagged[inside].sum())})
    return rows


def _mean_of_pairs(kernel: NDArray[np.float64]) -> float:
    """Mean over pairs, self-pairs left out."""
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))


def _kernel(left: NDArray[np.float32], right: NDArray[np.float32], gamma: float) -> NDArray[np.float64]:
    return np.exp(-gamma * _squared_distances(left, right).astype(np.float64))


def _squared_distances(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.einsum("ij,ij->i", left, left)[:, None] + np.einsum("ij,ij->i", right, right)
    return np.maximum(norms - 2 * (left @ right.T), 0)
