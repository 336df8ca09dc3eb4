"""Cells: a partition of the vectors by nearest centroid, so that a search reads some cells and not all.

Which cells are worth reading is decided row by row. Seen from a row x, the similarities of a cell's members are taken
for normal, with the mean m·x (m: the cell's mean) and the variance x'Sx (S: the covariance inside cells). A cell is
read where the chance that a member beats the row's last neighbour is above what is asked for. That is right for
vectors without structure; those with structure are found by joining neighbours, which this therefore leaves out.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from coterie.index.codes import quantise
from coterie.index.engine import faiss
from coterie.index.ticks import Tick, no_tick, part_of
from coterie.index.tiles import offer_tiles, tiles_of

_CELLS_PER_SQRT_ROW = 0.9
_TRAINING_ROWS_PER_CELL = 40
_TRAINING_ITERATIONS = 4
_SPREAD_ROWS = 20_000
_SPREAD_AXES = 32
_ROWS_AT_ONCE = 8_192
_ASKING_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Cells:
    """A partition of n rows into c cells.

    Attributes:
        of: int32[n], the cell of each row.
        size: int64[c], rows of each cell.
        mean_codes, mean_scale: int8[c, dim], float32[c]: quantised means of the cells' members.
        axes: float32[dim, a], principal axes of the spread inside cells.
        variance: float32[a + 1], variance along each axis, and along any other direction.
    """

    of: NDArray[np.int32]
    size: NDArray[np.int64]
    mean_codes: NDArray[np.int8]
    mean_scale: NDArray[np.float32]
    axes: NDArray[np.float32]
    variance: NDArray[np.float32]

    @property
    def count(self) -> int:
        """Number of cells, c."""
        return len(self.size)

    def spread(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[q]: standard deviation of a cell member's similarity to each vector, around the cell mean's."""
        deviation = np.empty(len(vectors), np.float32)
        for first in range(0, len(vectors), _ROWS_AT_ONCE):
            some = torch.from_numpy(vectors[first : first + _ROWS_AT_ONCE]) @ torch.from_numpy(self.axes)
            squares = some.square().numpy()
            rest = np.maximum(1.0 - squares.sum(axis=1), 0.0)
            variance = squares @ self.variance[:-1] + rest * self.variance[-1]
            deviation[first : first + _ROWS_AT_ONCE] = np.sqrt(variance)
        return deviation


def make_cells(vectors: NDArray[np.float32], codes: NDArray[np.int8], seed: int, tick: Tick = no_tick) -> Cells:
    """Train centroids on a sample by spherical k-means and give every row its nearest one.

    Cost: O(n sqrt(n) dim), in eight bits.

    Args:
        tick: told the finished share, 0 to 1; may raise to stop.
    """
    n = len(vectors)
    count = max(1, round(_CELLS_PER_SQRT_ROW * n**0.5))
    tick(0.0)
    centroids = _train(vectors, count, seed)
    of = nearest_cells(codes, *quantise(centroids), probes=1, tick=part_of(tick, 0.3, 0.4))[:, 0]
    tick(0.7)
    order = np.argsort(of, kind="stable")
    size = np.bincount(of, minlength=count)
    means = _means(vectors, order, size)
    tick(0.9)
    sample = np.random.default_rng([seed, n]).permutation(n)[:_SPREAD_ROWS]
    axes, variance = _spread(vectors[sample] - means[of[sample]])
    mean_codes, mean_scale = quantise(means)
    return Cells(of, size, mean_codes, mean_scale, axes, variance)


def nearest_cells(
    codes: NDArray[np.int8],
    cell_codes: NDArray[np.int8],
    cell_scale: NDArray[np.float32],
    probes: int,
    tick: Tick = no_tick,
) -> NDArray[np.int32]:
    """int32[n, probes]: the nearest cells of each row, nearest first."""
    tiles = tiles_of(np.arange(len(cell_codes), dtype=np.int32), cell_codes, cell_scale)
    found = np.full((len(codes), probes), -1, np.int32)
    likeness = np.full((len(codes), probes), -np.inf, np.float32)
    none = np.full(_ASKING_AT_ONCE, -1, np.int32)
    for first in range(0, len(codes), _ASKING_AT_ONCE):
        tick(first / len(codes))
        some = np.arange(first, min(first + _ASKING_AT_ONCE, len(codes)), dtype=np.int32)
        offer_tiles(codes, some, some, tiles, found, likeness, own=none[: len(some)])
    return found


def _train(vectors: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Centroids float32[count, dim]."""
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=_TRAINING_ITERATIONS,
        seed=seed,
        spherical=True,
        max_points_per_centroid=_TRAINING_ROWS_PER_CELL,
        min_points_per_centroid=1,
    )
    sample = np.random.default_rng(seed).permutation(len(vectors))[: count * _TRAINING_ROWS_PER_CELL]
    kmeans.train(vectors[np.sort(sample)])
    centroids: NDArray[np.float32] = kmeans.centroids
    return centroids


def _means(vectors: NDArray[np.float32], order: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.float32]:
    means = np.zeros((len(size), vectors.shape[1]), np.float32)
    for cell, members in enumerate(np.split(order, np.cumsum(size)[:-1])):
        if len(members):
            means[cell] = vectors[members].mean(axis=0)
    return means


def _spread(residuals: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Principal axes float32[dim, a] and variances float32[a + 1]; the last is of all other directions."""
    dim = residuals.shape[1]
    # In torch: NumPy's threads wait busily, and where the cores are shared that took a second and more.
    rows = torch.from_numpy(residuals)
    values, axes = (part.numpy() for part in torch.linalg.eigh((rows.T @ rows / max(1, len(residuals))).double()))
    kept = min(_SPREAD_AXES, dim - 1)
    rest = values[: dim - kept].mean() if dim > kept else 0.0
    variance = np.append(values[dim - kept :], rest)
    return np.ascontiguousarray(axes[:, dim - kept :], np.float32), np.maximum(variance, 0.0).astype(np.float32)
