"""How good clusters and neighbours are, where it is known what was planted and who is near whom."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cluster.data import BACKGROUND, BANDS, REAL

SAMPLE_ROWS = 1_000
RECALL_K = 15
_TIE = 1e-5
"""A neighbour this little farther than the k-th true one is as near: float32 sums differ by their order."""

DEFINITIONS = {
    "ari": "adjusted Rand index of all rows against the reference's labels, noise counted as one cluster",
    "family_recall": "share of planted families found: one cluster holds at least half of the family's members, and at "
    "least half of the planted rows in that cluster are members of the family",
    "members_clustered": "share of the planted rows that are in any cluster",
    "purity": "of the planted rows in any cluster, the share whose family is the commonest one there",
    "background_clustered": "share of the background rows that are in any cluster; there is nothing to find in them",
    "real_clustered": "share of the real rows that are in any cluster; nobody knows how many should be",
    "graph_recall": f"share of the {RECALL_K} true nearest neighbours that the graph's first {RECALL_K} hold, on a "
    f"sample of {SAMPLE_ROWS:,} rows, by what the row is; one as near as the last true one counts",
    "cpu_s": "user and system seconds of all threads; the median of up to three calls after a call on 3,000 rows",
    "cold_s": "wall seconds of the first call, on 3,000 rows, in a new process with nothing compiled: imports included",
    "first_call_s": "the same with compiled code on disk, as far as the library keeps it there",
    "peak_gb": "most memory the process ever held, in 10^9 bytes: interpreter, libraries, input and warm-up included",
    "exponent": "slope of log CPU seconds over log rows, by least squares",
}


def agreement(label: NDArray[np.int32], reference: NDArray[np.int32]) -> float:
    """Adjusted Rand index, 1 for equal clusters; noise counts as one cluster."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(reference, label))


def planted_quality(label: NDArray[np.int32], planted: NDArray[np.int32], band: NDArray[np.int8]) -> dict[str, Any]:
    """How a clustering treats what was planted (`DEFINITIONS` says what the figures are).

    Args:
        label: int32[n], cluster of each row, -1 for noise.
        planted: int32[n], family of each row, `REAL` or `BACKGROUND`.
        band: int8[families], 0 loose, 1 medium, 2 tight.

    Returns:
        Shares by name, for recall also by band; None where there is nothing to take a share of.
    """
    member, clustered = planted >= 0, label >= 0
    in_both = member & clustered
    pairs, together = np.unique(np.column_stack((planted[in_both], label[in_both])), axis=0, return_counts=True)
    family_size = np.bincount(planted[member], minlength=len(band))
    cluster_size = np.bincount(label[in_both], minlength=1)
    holds = (2 * together >= family_size[pairs[:, 0]]) & (2 * together >= cluster_size[pairs[:, 1]])
    found = np.zeros(len(band), bool)
    found[pairs[holds, 0]] = True
    present = family_size > 0
    commonest = np.zeros(len(cluster_size), np.int64)
    np.maximum.at(commonest, pairs[:, 1], together)
    return {
        "family_recall": {
            "all": _share(found[present]),
            **{name: _share(found[present & (band == number)]) for number, name in enumerate(BANDS)},
        },
        "members_clustered": {
            "all": _share(clustered[member]),
            **{name: _share(clustered[member][band[planted[member]] == number]) for number, name in enumerate(BANDS)},
        },
        "purity": _rounded(commonest.sum() / in_both.sum()) if in_both.any() else None,
        "background_clustered": _share(clustered[planted == BACKGROUND]),
        "real_clustered": _share(clustered[planted == REAL]),
    }


def sample_of(n: int, seed: int) -> NDArray[np.int64]:
    """int64[<= 1,000]: rows to measure a graph on, ascending."""
    return np.sort(np.random.default_rng([seed, n, 1]).permutation(n)[:SAMPLE_ROWS])


def true_similarities(vectors: NDArray[np.float32], sample: NDArray[np.int64], k: int) -> NDArray[np.float32]:
    """float32[sample, <= k]: similarities of the nearest neighbours of some rows among all others, descending."""
    import faiss

    reach = min(k + 1, len(vectors))
    similarities, found = faiss.knn(vectors[sample], vectors, reach, metric=faiss.METRIC_INNER_PRODUCT)
    order = np.argsort(found == sample[:, None], axis=1, kind="stable")[:, :-1]
    nearest: NDArray[np.float32] = np.take_along_axis(similarities, order, 1)
    return nearest


def graph_recall(
    neighbours: NDArray[np.int32],
    sample: NDArray[np.int64],
    vectors: NDArray[np.float32],
    nearest: NDArray[np.float32],
    planted: NDArray[np.int32],
) -> dict[str, float | None]:
    """The share of true neighbours that a graph holds, by what the rows are.

    Args:
        neighbours: int32[sample, k], of the sampled rows alone; -1 pads, and the row itself does not count.
        sample: int64[sample], their row numbers.
        vectors: float32[n, dim], unit rows.
        nearest: float32[sample, k], `true_similarities` for the k to measure.
        planted: int32[n], family of each row, `REAL` or `BACKGROUND`.
    """
    k = nearest.shape[1]
    hits = np.zeros(len(sample))
    for at, row in enumerate(sample):
        held = np.setdiff1d(neighbours[at, :k], [-1, row])
        hits[at] = min(k, int((vectors[held] @ vectors[row] >= nearest[at, -1] - _TIE).sum())) / k
    kind = planted[sample]
    return {
        "all": _share(hits),
        "real": _share(hits[kind == REAL]),
        "family": _share(hits[kind >= 0]),
        "background": _share(hits[kind == BACKGROUND]),
    }


def growth_exponent(rows: list[int], cpu_s: list[float]) -> float | None:
    """Slope of log CPU seconds over log rows; None without two sizes."""
    if len(set(rows)) < 2:
        return None
    slope, _ = np.polyfit(np.log(rows), np.log(cpu_s), 1)
    return round(float(slope), 3)


def _share(parts: NDArray[Any]) -> float | None:
    return _rounded(parts.mean()) if len(parts) else None


def _rounded(value: Any) -> float:
    return round(float(value), 4)
