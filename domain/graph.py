"""The neighbour graph as a value."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NeighbourGraph:
    """The k nearest neighbours of every row of a set of unit vectors, by inner product.

    Attributes:
        neighbours: int32[n, k], row numbers, nearest first, never the row itself; -1 pads, at the end.
        similarities: float32[n, k], cosine in [-1, 1], descending; -1.0 where `neighbours` is -1.
    """

    neighbours: NDArray[np.int32]
    similarities: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.neighbours.shape != self.similarities.shape or self.neighbours.ndim != 2:
            raise ValueError(
                f"graph arrays must share one shape [n, k], got {self.neighbours.shape} and {self.similarities.shape}"
            )

    @property
    def size(self) -> int:
        """Number of rows, n."""
        return int(self.neighbours.shape[0])

    @property
    def k(self) -> int:
        """Neighbours kept for each row."""
        return int(self.neighbours.shape[1])
