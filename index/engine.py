"""The one place that imports FAISS."""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coterie.domain import UnavailableError

try:
    # Any: the stubs that some builds ship leave out half of what is used here.
    faiss: Any = importlib.import_module("faiss")
except ImportError as error:
    raise UnavailableError(
        "coterie.index needs FAISS, and no build of it is installed: pip install 'coterie[cpu]', "
        "or on a machine with an NVIDIA GPU pip install 'coterie[gpu]' (never both)"
    ) from error

__all__ = ["BulkSearch", "faiss"]


class BulkSearch:
    """Exact inner-product search of many queries in a matrix."""

    def nearest(
        self, queries: NDArray[np.float32], base: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k <= len(base) rows of `base` nearest to each query: float32[q, k] similarities, int64[q, k] rows."""
        similarities, rows = faiss.knn(queries, base, k, metric=faiss.METRIC_INNER_PRODUCT)
        return similarities, rows
