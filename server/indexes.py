"""The FAISS indexes of prompts and responses, which follow the store and can always be rebuilt from it."""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coterie.domain import SegmentState, TextField, UnavailableError
from coterie.index import IndexState, SegmentedIndex
from coterie.server.logs import emit, origin
from coterie.server.priority import INDEXING_NICE, yield_processor
from coterie.store import Store

_LOGGER = logging.getLogger(__name__)
_REPLAY_ROWS = 8_192
_S_PER_DAY = 86_400
_RETRY_S = 60.0

Clock = Callable[[], float]
"""Seconds since the epoch."""


class FieldIndex:
    """The index of one field: a snapshot in `folder`, plus what the store did since.

    Vectors are of the day on which they are taken over, by `clock`; an index built anew is all of that day.
    """

    def __init__(
        self,
        store: Store,
        field: TextField,
        folder: Path,
        dim: int,
        clock: Clock = time.time,
        exact_rows_max: int | None = None,
    ) -> None:
        self._store = store
        self._field = field
        self._folder = folder
        self._clock = clock
        self._following = threading.Lock()
        self._saving = threading.Lock()
        self.refused = 0
        """Snapshots that were damaged, or lacked a file."""
        self._size = {} if exact_rows_max is None else {"flat_rows_max": exact_rows_max}
        self._index, self._last_vector, self._last_erasure = self._load(dim)
        self._saved: tuple[int, int] | None = (self._last_vector, self._last_erasure)

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
                self._index.add(text_ids, vectors, int(self._clock() // _S_PER_DAY))
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

    def states(self) -> list[IndexState]:
        """How each segment is searched, oldest first."""
        return self._index.states()

    def maintain(self, threads: int) -> None:
        """Keep it quick to search, while it is searched and followed; see `SegmentedIndex.maintain`."""
        started = time.perf_counter()
        if self._index.maintain(threads=threads):
            self._saved = None
            seconds = round(time.perf_counter() - started, 2)
            emit(_LOGGER, logging.INFO, "index_maintained", field=self._field.value, texts=len(self._index), s=seconds)

    def save(self) -> None:
        """Write a snapshot if anything changed since the last; the index is searched and followed meanwhile."""
        with self._saving:
            with self._following:
                position = (self._last_vector, self._last_erasure)
            if position != self._saved:
                # Before it is written: maintenance that ends meanwhile is for the next one.
                self._saved = position
                try:
                    self._index.save(self._folder, last_vector=position[0], last_erasure=position[1])
                except UnavailableError:
                    self._saved = None
                    raise
                self._remove_single_files()
                emit(_LOGGER, logging.INFO, "snapshot_saved", field=self._field.value, texts=len(self._index))

    def _remove_single_files(self) -> None:
        """Remove the snapshots of earlier versions, one file of all days: they may hold what was erased since."""
        try:
            for path in self._folder.parent.glob(f"{self._field.value}-*.faiss*"):
                path.unlink()
        except OSError as error:
            raise UnavailableError(
                f"old index snapshots in {self._folder.parent} cannot be removed: {error}"
            ) from error

    def _checked(self, index: SegmentedIndex, last_vector: int, last_erasure: int) -> tuple[SegmentedIndex, int, int]:
        """What was loaded, unless it is of a later time than the store: of a database that was put back by hand."""
        if last_vector > self._store.last_vector() or last_erasure > self._store.erased_since(last_erasure)[0]:
            raise UnavailableError(f"index snapshot {self._folder} is ahead of the database: it is of another one")
        return index, last_vector, last_erasure

    def _load(self, dim: int) -> tuple[SegmentedIndex, int, int]:
        if self._folder.exists():
            try:
                return self._checked(*SegmentedIndex.load(self._folder, dim, **self._size))
            except UnavailableError as error:
                self.refused += 1
                emit(
                    _LOGGER,
                    logging.WARNING,
                    "snapshot_refused",
                    path=self._folder,
                    reason=error,
                    action="the index is rebuilt from the store",
                )
        return SegmentedIndex(dim, **self._size), 0, 0


class Indexes:
    """The indexes of both fields."""

    def __init__(
        self,
        store: Store,
        model_id: str,
        dim: int,
        snapshot_interval_s: float,
        clock: Clock = time.time,
        exact_rows_max: int | None = None,
    ) -> None:
        """Load the snapshots of this model and catch up with the store."""
        started = time.perf_counter()
        # The model is part of the name, so that another model's snapshot is never taken for this one's.
        mark = hashlib.sha256(f"{model_id}/{dim}".encode()).hexdigest()[:12]
        folder = store.data_dir / "index"
        self.fields: Mapping[TextField, FieldIndex] = {
            field: FieldIndex(store, field, folder / f"{field.value}-{mark}", dim, clock, exact_rows_max)
            for field in TextField
        }
        self._grown, self._closing = threading.Event(), threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="coterie-index", daemon=True)
        self._interval_s = snapshot_interval_s
        self._saved_at = time.monotonic()
        self.follow()
        emit(
            _LOGGER,
            logging.INFO,
            "indexes_ready",
            prompts=len(self.fields[TextField.PROMPT]),
            responses=len(self.fields[TextField.RESPONSE]),
            s=round(time.perf_counter() - started, 2),
        )

    def states(self) -> tuple[SegmentState, ...]:
        """How each segment of each field is searched now."""
        return tuple(
            SegmentState(field, state.rows, state.tail_rows, state.lists, state.probes, state.recall)
            for field, index in self.fields.items()
            for state in index.states()
        )

    def follow(self) -> None:
        """Catch both indexes up with the store."""
        for index in self.fields.values():
            index.follow()
        self._grown.set()

    def start(self) -> None:
        """Keep both quick to search from now on, on a thread of its own that takes half of the machine at most."""
        self._grown.set()
        self._keeper.start()

    def close(self) -> None:
        """Begin no more maintenance; what is under way is not waited for, and lost."""
        self._closing.set()
        self._grown.set()

    def save_when_due(self) -> None:
        """Snapshot both if the last time is an interval ago."""
        if time.monotonic() - self._saved_at < self._interval_s:
            return
        self._saved_at = time.monotonic()
        try:
            self.save()
        except UnavailableError as error:
            # The store has it all: a full disk must not stop what goes on without a snapshot.
            emit(_LOGGER, logging.WARNING, "snapshot_not_saved", reason=error, retry_s=self._interval_s)

    def save(self) -> None:
        """Snapshot both, where they changed."""
        for index in self.fields.values():
            index.save()
        self._saved_at = time.monotonic()

    def _keep(self) -> None:
        yield_processor(INDEXING_NICE)
        threads = max(1, (os.cpu_count() or 1) // 2)
        while not self._closing.is_set():
            self._grown.wait()
            self._grown.clear()
            try:
                for index in self.fields.values():
                    if not self._closing.is_set():
                        index.maintain(threads)
            except Exception as error:  # noqa: BLE001 - search goes on without lists; the next round tries again
                emit(_LOGGER, logging.ERROR, "index_maintenance_failed", reason=origin(error), retry_s=_RETRY_S)
                self._closing.wait(_RETRY_S)
