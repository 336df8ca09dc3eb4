"""The shape that every search result has."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coterie.domain import InvalidError
from coterie.index.checks import checked_vectors

K_MAX = 16_384
"""Hits a query may ask for; above the wire's limit, so that a caller can fetch more and filter."""

Hits = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Ids int64[q, k] with -1 padding, similarities float32[q, k] with -1.0 padding; descending, ties by id."""


def checked_queries(queries: ArrayLike, dim: int, k: int) -> NDArray[np.float32]:
    """Queries as float32[q, dim], unit rows.

    Raises:
        InvalidError: bad vectors, or k out of range.
    """
    if not 1 <= k <= K_MAX:
        raise InvalidError(f"k is {k}, use 1 to {K_MAX}", field="k")
    return checked_vectors(queries, dim)


def tidy(ids: NDArray[np.int64], similarities: NDArray[np.float32], k: int) -> Hits:
    """Order hits by similarity, equals by id, and pad them to k columns; -1 among `ids` means no hit."""
    similarities = np.where(ids < 0, np.float32(-np.inf), similarities.clip(-1.0, 1.0))
    order = np.lexsort((ids, -similarities), axis=1)
    ids, similarities = np.take_along_axis(ids, order, 1), np.take_along_axis(similarities, order, 1)
    similarities[ids < 0] = -1.0
    missing = ((0, 0), (0, k - ids.shape[1]))
    return np.pad(ids, missing, constant_values=-1), np.pad(similarities, missing, constant_values=-1.0)


def last_of_each(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the last occurrence of each id, ascending: of an id given twice, the later vector counts."""
    _, from_end = np.unique(ids[::-1], return_index=True)
    return np.sort(len(ids) - 1 - from_end)
