"""The index in plain NumPy: slow, obvious, and what `VectorIndex` is compared with."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coterie.index.checks import checked_ids, checked_pairs
from coterie.index.results import Hits, checked_queries, last_of_each, tidy
from coterie.index.snapshot import Write, damaged, open_snapshot, write_snapshot

_KIND = "numpy"


class NumpyIndex:
    """Exact search by one matrix product. Same interface and results as `VectorIndex`, but not thread-safe."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._ids = np.empty(0, dtype=np.int64)
        self._vectors = np.empty((0, dim), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, id_: int) -> bool:
        return bool((self._ids == id_).any())

    def ids(self) -> NDArray[np.int64]:
        """The ids held, int64[n], ascending."""
        return np.sort(self._ids)

    def add(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        """Add vectors under their ids, replacing those that are there. See `VectorIndex.add`."""
        numbers, rows = checked_pairs(ids, vectors, self.dim)
        kept = last_of_each(numbers)
        self.remove(numbers)
        self._ids = np.concatenate([self._ids, numbers[kept]])
        self._vectors = np.concatenate([self._vectors, rows[kept]])

    def remove(self, ids: ArrayLike) -> int:
        """Remove ids; those that are not there are ignored. Returns how many were removed."""
        gone = np.isin(self._ids, checked_ids(ids))
        self._ids, self._vectors = self._ids[~gone], self._vectors[~gone]
        return int(gone.sum())

    def search(self, queries: ArrayLike, k: int, *, allowed: NDArray[np.int64] | None = None) -> Hits:
        """The k nearest of the ids held (and allowed). See `VectorIndex.search`."""
        rows = checked_queries(queries, self.dim, k)
        eligible = np.ones(len(self), dtype=bool) if allowed is None else np.isin(self._ids, checked_ids(allowed))
        ids = self._ids[eligible]
        similarities = rows @ self._vectors[eligible].T
        found, ordered = tidy(np.broadcast_to(ids, similarities.shape), similarities, max(k, len(ids)))
        return found[:, :k], ordered[:, :k]

    def save(self, path: Path, *, last_vector: int, last_erasure: int) -> None:
        """Write a snapshot. See `VectorIndex.save`."""

        def write_payload(write: Write) -> None:
            for array in (self._ids, self._vectors):
                buffer = io.BytesIO()
                np.save(buffer, array)
                write(buffer.getvalue())

        header = {"kind": _KIND, "dim": self.dim, "last_vector": last_vector, "last_erasure": last_erasure}
        write_snapshot(path, header, write_payload)

    @classmethod
    def load(cls, path: Path, dim: int) -> tuple["NumpyIndex", int, int]:
        """Read a snapshot: (index, last_vector, last_erasure). See `VectorIndex.load`."""
        with open_snapshot(path) as (header, stored):
            if (header.get("kind"), header.get("dim")) != (_KIND, dim):
                raise damaged(path, f"it holds {header.get('kind')} of dim {header.get('dim')}, not {_KIND} of {dim}")
            payload = io.BytesIO(stored.read(path.stat().st_size))
            index = cls(dim)
            index._ids, index._vectors = np.load(payload), np.load(payload)
            return index, int(header["last_vector"]), int(header["last_erasure"])
