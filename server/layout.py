"""Vectors to points of a plane, as a process of its own: `python -m coterie.server.layout VECTORS POSITIONS`."""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 15
EPOCHS = 120
LEAST_FOR_GRAPH = 4 * NEIGHBOURS
"""Below so many texts the two principal components are the layout: there is no neighbourhood to keep."""

_SEED = 20_260_101
_SAMPLE = 20_000
_NICE = 10
_MIN_DIST = 0.15
_SPREAD = 1.0
_EDGE_SHARE = 0.999


def layout(vectors: NDArray[np.float32], epochs: int = EPOCHS) -> NDArray[np.float32]:
    """Points float32[n, 2] between -1 and 1 for unit rows float32[n, dim]: near each other where the rows are alike.

    UMAP (McInnes, Healy & Melville, 2018) on coterie's own neighbour graph, begun at the principal components.
    """
    start = _principal(vectors)
    return _fitted(_relaxed(vectors, start, epochs) if len(vectors) >= LEAST_FOR_GRAPH else start)


def _principal(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[n, 2]: the two directions of most variance, of a sample where there are many rows."""
    rows = np.random.default_rng(_SEED).permutation(len(vectors))[:_SAMPLE]
    mean = vectors[rows].mean(axis=0)
    centred = vectors[rows] - mean
    _, directions = np.linalg.eigh(centred.T @ centred)
    return np.asarray((vectors - mean) @ directions[:, -2:], dtype=np.float32)


def _relaxed(vectors: NDArray[np.float32], start: NDArray[np.float32], epochs: int) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about optional parts of umap that are not used here
        from umap.umap_ import find_ab_params, fuzzy_simplicial_set, simplicial_set_embedding

    from coterie.index import neighbour_graph

    graph = neighbour_graph(vectors, NEIGHBOURS)
    own = np.arange(len(vectors))[:, np.newaxis]
    found = graph.neighbours >= 0
    neighbours = np.hstack([own, np.where(found, graph.neighbours, own)]).astype(np.int64)
    distances = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * np.where(found, graph.similarities, 1.0)))
    distances = np.hstack([np.zeros((len(vectors), 1)), distances]).astype(np.float32)
    random = np.random.RandomState(_SEED)  # what umap takes
    fuzzy, _, _ = fuzzy_simplicial_set(
        vectors, NEIGHBOURS + 1, random, "euclidean", knn_indices=neighbours, knn_dists=distances
    )
    spread, minimum = find_ab_params(_SPREAD, _MIN_DIST)
    begin = 10.0 * start / max(float(np.abs(start).max()), 1e-9)
    begin += random.normal(scale=1e-3, size=begin.shape)  # equal texts must be able to part
    positions, _ = simplicial_set_embedding(
        vectors, fuzzy, 2, 1.0, spread, minimum, 1.0, 5, epochs, begin.astype(np.float32), random, "euclidean", {},
        False, {}, False, parallel=True,
    )  # fmt: skip
    return np.asarray(positions, dtype=np.float32)


def _fitted(positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scaled alike in both directions into the square; the outermost thousandth is pulled to its edge."""
    centre = np.median(positions, axis=0)
    reach = np.quantile(np.abs(positions - centre), _EDGE_SHARE)
    fitted = (positions - centre) / max(float(reach), 1e-9)
    return np.asarray(np.clip(np.nan_to_num(fitted), -1.0, 1.0), dtype=np.float32)


def main(source: str, target: str) -> None:
    """Lay out what one file holds, float16[n, dim], and write float32[n, 2] to another."""
    os.nice(_NICE)
    vectors = np.load(source).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    part = Path(f"{target}.part.npy")
    np.save(part, layout(vectors))
    part.replace(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
