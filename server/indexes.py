"""The FAISS indexes of prompts and responses, which follow the store and can always be rebuilt from it."""

import hashlib
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coterie.domain import TextField, UnavailableError
from coterie.index import VectorIndex
from coterie.server.logs import emit
from coterie.store import Store

_LOGGER = logging.getLogger(__name__)
_REPLAY_ROWS = 8_192


class FieldIndex:
    """The index of one field: a snapshot, plus what the store did since."""

    def __init__(self, store: Store, field: TextField, path: Path, dim: int) -> None:
        self._store = store
        self._field = field
        self._path = path
        self._following = threading.Lock()
        self._index, self._last_vector, self._last_erasure = self._load(dim)
        self._saved = (self._last_vector, self._last_erasure)

    def __len__(self) -> int:
        return len(self._index)

    def ids(self) -> NDArray[np.int64]:
        """The text ids held, int64[n], ascending."""
        return self._index.ids()

    def follow(self) -> None:
        """Take over every vector and erasure that the store has and the index has not."""
        with self._following:
            while True:
                sequences, text_ids, vectors = self._store.vectors_since(self._field, self._last_vector, _REPLAY_ROWS)
                if not len(sequences):
                    break
                self._index.add(text_ids, vectors)
                self._last_vector = int(sequences[-1])
            # After the vectors: a text erased between the two reads is then removed again.
            self._last_erasure, erased = self._store.erased_since(self._last_erasure)
            if len(erased):
                self._index.remove(erased)

    def search(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The text ids nearest to one vector, float32[dim], and their cosines; nearest first, at most k."""
        text_ids, similarities = self._index.search(query[np.newaxis], k, allowed=allowed)
        found = text_ids[0] >= 0
        return text_ids[0][found], similarities[0][found]

    def search_batch(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k text ids nearest to each of q vectors, float32[q, dim], and their cosines: [q, k], -1 and -1.0 pad."""
        return self._index.search(queries, k)

    def save(self) -> None:
        """Write a snapshot if anything changed since the last."""
        with self._following:
            position = (self._last_vector, self._last_erasure)
            if position != self._saved:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._index.save(self._path, last_vector=position[0], last_erasure=position[1])
                self._saved = position
                emit(_LOGGER, logging.INFO, "snapshot_saved", field=self._field.value, texts=len(self._index))

    def _load(self, dim: int) -> tuple[VectorIndex, int, int]:
        if self._path.exists():
            try:
                return VectorIndex.load(self._path, dim)
            except UnavailableError as error:
                emit(
                    _LOGGER,
                    logging.WARNING,
                    "snapshot_refused",
                    path=self._path,
                    reason=error,
                    action="the index is rebuilt from the store",
                )
        return VectorIndex(dim), 0, 0


class Indexes:
    """The indexes of both fields."""

    def __init__(self, store: Store, model_id: str, dim: int, snapshot_interval_s: float) -> None:
        """Load the snapshots of this model and catch up with the store."""
        # The model is part of the name, so that another model's snapshot is never taken for this one's.
        mark = hashlib.sha256(f"{model_id}/{dim}".encode()).hexdigest()[:12]
        folder = store.data_dir / "index"
        self.fields: Mapping[TextField, FieldIndex] = {
            field: FieldIndex(store, field, folder / f"{field.value}-{mark}.faiss", dim) for field in TextField
        }
        self._interval_s = snapshot_interval_s
        self._saved_at = time.monotonic()
        started = time.perf_counter()
        self.follow()
        emit(
            _LOGGER,
            logging.INFO,
            "indexes_ready",
            prompts=len(self.fields[TextField.PROMPT]),
            responses=len(self.fields[TextField.RESPONSE]),
            s=round(time.perf_counter() - started, 2),
        )

    def follow(self) -> None:
        """Catch both indexes up with the store."""
        for index in self.fields.values():
            index.follow()

    def save_when_due(self) -> None:
        """Snapshot both if the last time is an interval ago."""
        if time.monotonic() - self._saved_at >= self._interval_s:
            self.save()

    def save(self) -> None:
        """Snapshot both, where they changed."""
        for index in self.fields.values():
            index.save()
        self._saved_at = time.monotonic()
