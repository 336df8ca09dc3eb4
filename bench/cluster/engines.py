"""The engines: unit vectors in, a cluster for every row out, and the neighbour graph where there is one.

All look for clusters of at least 10 rows where 5 others make a place dense; every other setting is the library's own
default. Each imports its library when it is called, so that a first call shows what a start costs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_CLUSTER_SIZE, MIN_SAMPLES = 10, 5
"""Rows that make a cluster; other rows that make a place dense."""

QUADRATIC_ROWS_MAX, SLOW_ROWS_MAX = 20_000, 200_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an engine found.

    Attributes:
        label: int32[n], cluster of each row, -1 for noise; none where the engine only makes a graph.
        neighbours: int32[n, k], nearest first, never the row itself, -1 for padding; none where there is no graph.
        others: further labels of the same call, by name.
    """

    label: NDArray[np.int32] | None = None
    neighbours: NDArray[np.int32] | None = None
    others: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to cluster.

    Attributes:
        run: float32[n, dim] unit rows and a seed to an `Outcome`.
        library: whose code it is; what is compiled once is compiled for all engines of a library.
        parameters: as the library names them, for the record.
        rows_max: above this it is not run unless asked for; none if there is no such size.
    """

    run: Callable[[NDArray[np.float32], int], Outcome]
    library: str
    parameters: Mapping[str, Any]
    rows_max: int | None = None


def coterie(vectors: NDArray[np.float32], seed: int, k: int) -> Outcome:
    """From vectors with no graph: the neighbour graph, the spanning tree, the cut."""
    from coterie.index import neighbour_graph

    return _families_of(neighbour_graph(vectors, k, seed=seed))


def exact(vectors: NDArray[np.float32], seed: int, k: int) -> Outcome:
    """The same tree on the exact graph, which FAISS finds by comparing everything with everything."""
    import faiss

    from coterie.domain import NeighbourGraph

    similarities, found = faiss.knn(vectors, vectors, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
    # Last the row itself, or the farthest where more than k rows are equal to it; then it is cut off.
    order = np.argsort(found == np.arange(len(vectors))[:, None], axis=1, kind="stable")[:, :k]
    neighbours = np.take_along_axis(found, order, 1).astype(np.int32)
    return _families_of(NeighbourGraph(neighbours, np.take_along_axis(similarities, order, 1)))


def hdbscan(vectors: NDArray[np.float32], seed: int) -> Outcome:
    """The reference implementation; its min_samples leaves out the row itself, as ours does."""
    from hdbscan import HDBSCAN

    model = HDBSCAN(min_cluster_size=MIN_CLUSTER_SIZE, min_samples=MIN_SAMPLES, algorithm="best")
    return Outcome(_label(model.fit_predict(vectors)))


def scikit_learn(vectors: NDArray[np.float32], seed: int) -> Outcome:
    """scikit-learn's, whose min_samples counts the row itself."""
    from sklearn.cluster import HDBSCAN

    model = HDBSCAN(min_cluster_size=MIN_CLUSTER_SIZE, min_samples=MIN_SAMPLES + 1, copy=False)
    return Outcome(_label(model.fit_predict(vectors)))


def fast_hdbscan(vectors: NDArray[np.float32], seed: int, metric: str) -> Outcome:
    """fast_hdbscan, which in this many dimensions searches 15 neighbours with pynndescent; it takes no seed."""
    from fast_hdbscan.hdbscan import fast_hdbscan as fit

    label, _ = fit(vectors, min_samples=MIN_SAMPLES, min_cluster_size=MIN_CLUSTER_SIZE, metric=metric)
    return Outcome(_label(label))


def pynndescent(vectors: NDArray[np.float32], seed: int, metric: str) -> Outcome:
    """The graph alone that fast_hdbscan makes for itself, by its own function."""
    from fast_hdbscan.nndescent import build_knn_graph

    _, neighbours, _ = build_knn_graph(vectors, max(3 * MIN_SAMPLES, 15), metric=metric)
    return Outcome(neighbours=neighbours)


def evoc(vectors: NDArray[np.float32], seed: int) -> Outcome:
    """EVoC; it labels by the layer that persists most and also returns its finest. Without a seed, as by default."""
    from evoc import EVoC

    model = EVoC(base_min_cluster_size=MIN_CLUSTER_SIZE)
    label = model.fit_predict(vectors)
    return Outcome(_label(label), others={"finest": _label(model.cluster_layers_[0])})


def _families_of(graph: Any) -> Outcome:
    from coterie.detection.families import find_families

    once = np.ones(graph.size, np.int64)
    families = find_families(graph, once, min_samples=MIN_SAMPLES, min_cluster_size=MIN_CLUSTER_SIZE)
    return Outcome(families.label, graph.neighbours)


def _label(label: NDArray[Any]) -> NDArray[np.int32]:
    return np.asarray(label, dtype=np.int32)


_SIZES = {"min_cluster_size": MIN_CLUSTER_SIZE, "min_samples": MIN_SAMPLES}

ENGINES: dict[str, Engine] = {
    "hdbscan": Engine(hdbscan, "hdbscan", {**_SIZES, "algorithm": "best"}, QUADRATIC_ROWS_MAX),
    "exact": Engine(partial(exact, k=15), "faiss", {**_SIZES, "k": 15}, SLOW_ROWS_MAX),
    "exact_k30": Engine(partial(exact, k=30), "faiss", {**_SIZES, "k": 30}, SLOW_ROWS_MAX),
    "coterie": Engine(partial(coterie, k=30), "coterie", {**_SIZES, "k": 30}),
    "coterie_k15": Engine(partial(coterie, k=15), "coterie", {**_SIZES, "k": 15}),
    "coterie_k60": Engine(partial(coterie, k=60), "coterie", {**_SIZES, "k": 60}),
    "fast_hdbscan": Engine(partial(fast_hdbscan, metric="cosine"), "fast_hdbscan", {**_SIZES, "metric": "cosine"}),
    "fast_hdbscan_l2": Engine(
        partial(fast_hdbscan, metric="euclidean"), "fast_hdbscan", {**_SIZES, "metric": "euclidean"}
    ),
    "pynndescent": Engine(
        partial(pynndescent, metric="cosine"), "pynndescent", {"n_neighbors": 15, "metric": "cosine"}
    ),
    "evoc": Engine(evoc, "evoc", {"base_min_cluster_size": MIN_CLUSTER_SIZE, "min_samples": 5}, SLOW_ROWS_MAX),
    "scikit_learn": Engine(
        scikit_learn,
        "scikit-learn",
        {"min_cluster_size": MIN_CLUSTER_SIZE, "min_samples": MIN_SAMPLES + 1},
        QUADRATIC_ROWS_MAX,
    ),
}
"""By name, in the order in which they run: the references come first."""

REFERENCES = ("hdbscan", "exact")
"""Whose labels the others are held against: the first of these that ran."""
