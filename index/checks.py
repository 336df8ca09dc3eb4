"""What every vector and id has to be before it reaches FAISS, which checks little and may crash."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coterie.domain import InvalidError

_NORM_TOLERANCE = 1e-2


def checked_vectors(vectors: ArrayLike, dim: int | None = None) -> NDArray[np.float32]:
    """Unit rows as contiguous float32[n, dim].

    Raises:
        InvalidError: wrong shape, a value that is not finite, or a row that is not of length 1.
    """
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] == 0 or (dim is not None and rows.shape[1] != dim):
        expected = "dim" if dim is None else str(dim)
        raise InvalidError(f"vectors have shape {list(rows.shape)}, expected [n, {expected}]", field="vectors")
    # A sum of squares that is not finite tells of such a value, without a mask as large as the vectors.
    squares = np.einsum("ij,ij->i", rows, rows)
    wrong = np.flatnonzero(~(np.abs(squares - 1.0) <= 2 * _NORM_TOLERANCE))
    if len(wrong):
        raise InvalidError(
            f"vectors must be finite and of length 1: row {wrong[0]} has squared length {squares[wrong[0]]}",
            field="vectors",
        )
    return rows


def checked_ids(ids: ArrayLike) -> NDArray[np.int64]:
    """Ids as contiguous int64[n], none negative: -1 means "none" in results.

    Raises:
        InvalidError: wrong shape, not integers, or a negative id.
    """
    numbers = np.asarray(ids)
    if numbers.ndim != 1 or (numbers.size and not np.issubdtype(numbers.dtype, np.integer)):
        raise InvalidError(f"ids are {numbers.dtype}{list(numbers.shape)}, expected int64[n]", field="ids")
    if numbers.size and int(numbers.min()) < 0:
        raise InvalidError(f"ids must not be negative, got {int(numbers.min())}", field="ids")
    return np.ascontiguousarray(numbers, dtype=np.int64)


def checked_pairs(ids: ArrayLike, vectors: ArrayLike, dim: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ids and their vectors, as many of the one as of the other.

    Raises:
        InvalidError: either is wrong, or their numbers differ.
    """
    numbers, rows = checked_ids(ids), checked_vectors(vectors, dim)
    if len(numbers) != len(rows):
        raise InvalidError(f"{len(numbers)} ids for {len(rows)} vectors", field="ids")
    return numbers, rows
