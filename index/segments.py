"""The index in segments by day of arrival, so that retention drops whole files and a save writes only what changed.

A segment is closed when a later day begins and it is large enough to be searched by lists: a small folder stays one
segment, and no search goes over many small ones. Segments are read into memory, not mapped: FAISS 1.15 refuses to
remove ids from an inverted file under `IO_FLAG_MMAP` and crashes on it under `IO_FLAG_MMAP_IFC`, and the checksum
reads the whole file anyway.
"""

import json
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coterie.domain import UnavailableError
from coterie.index.checks import checked_ids, checked_pairs
from coterie.index.locks import ReadWriteLock
from coterie.index.results import Hits, checked_queries, tidy
from coterie.index.snapshot import Write, damaged, open_snapshot, snapshot_digest, write_snapshot
from coterie.index.vector_index import FLAT_ROWS_MAX, VectorIndex

_KIND = "segments"
_MANIFEST = "manifest"
_SEGMENTS = "segment-*"


@dataclass(eq=False)
class _Segment:
    """Vectors that arrived from `first_day` to `last_day`; `file` is "" when none holds them as they are now."""

    index: VectorIndex
    first_day: int
    last_day: int
    file: str = ""
    sha256: str = ""


class SegmentedIndex:
    """`VectorIndex` in segments: the same results, thread-safe likewise, and old days go at once.

    The newest segment is the open one, which takes what is added. Days that go backwards (a clock that was set) go
    into it too: its days then reach over both, so that nothing is dropped too early.

    Args:
        dim: length of the vectors.
        flat_rows_max: rows up to which a segment is searched exactly, and from which a later day begins a new one.

    Raises:
        InvalidError: dim out of range.
    """

    def __init__(self, dim: int, *, flat_rows_max: int = FLAT_ROWS_MAX) -> None:
        VectorIndex(dim)  # says whether dim is in range
        self.dim = dim
        self._flat_rows_max = flat_rows_max
        self._segments: list[_Segment] = []
        self._change = threading.Lock()
        self._gate = ReadWriteLock()

    def __len__(self) -> int:
        with self._gate.read():
            return sum(len(segment.index) for segment in self._segments)

    def __contains__(self, id_: int) -> bool:
        with self._gate.read():
            return any(id_ in segment.index for segment in self._segments)

    def ids(self) -> NDArray[np.int64]:
        """The ids held, int64[n], ascending."""
        with self._gate.read():
            parts = [segment.index.ids() for segment in self._segments]
        return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))

    def days(self) -> list[tuple[int, int]]:
        """First and last day of each segment, oldest segment first; UTC days since the epoch."""
        with self._gate.read():
            return [(segment.first_day, segment.last_day) for segment in self._segments]

    def add(self, ids: ArrayLike, vectors: ArrayLike, day: int) -> None:
        """Add vectors that arrived on `day`, replacing those of the same ids in whatever segment.

        Args:
            ids: int64[n], not negative; of an id given twice the last one counts.
            vectors: float32[n, dim], unit rows.
            day: UTC days since the epoch.

        Raises:
            InvalidError: see `VectorIndex.add`; nothing is changed.
        """
        numbers, rows = checked_pairs(ids, vectors, self.dim)
        if not len(numbers):
            return
        with self._change:
            # Under one gate: no search meets an id in two segments, or in none while it moves.
            with self._gate.write():
                segment = self._open(day)
                self._remove(numbers, [other for other in self._segments if other is not segment])
                segment.index.put(numbers, rows)
                segment.first_day, segment.last_day = min(segment.first_day, day), max(segment.last_day, day)
                segment.file = ""
            segment.index.train_if_outgrown()

    def remove(self, ids: ArrayLike) -> int:
        """Remove ids; those that are not there are ignored. Returns how many were removed."""
        numbers = checked_ids(ids)
        with self._change, self._gate.write():
            return self._remove(numbers, self._segments)

    def drop_before(self, day: int) -> int:
        """Remove the segments of which every day is before `day`, whole. Returns how many ids went."""
        with self._change, self._gate.write():
            gone = [segment for segment in self._segments if segment.last_day < day]
            self._segments = [segment for segment in self._segments if segment.last_day >= day]
            return sum(len(segment.index) for segment in gone)

    def search(self, queries: ArrayLike, k: int, *, allowed: NDArray[np.int64] | None = None) -> Hits:
        """The k nearest of the ids held (and allowed). See `VectorIndex.search`."""
        rows = checked_queries(queries, self.dim, k)
        left = None if allowed is None else np.unique(checked_ids(allowed))
        best = tidy(np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0), np.float32), k)
        with self._gate.read():
            if len(self._segments) == 1:
                return self._segments[0].index.search(rows, k, allowed=left)
            for segment in self._segments:
                wanted = left
                if left is not None:
                    # Each segment is asked for its own alone: how many lists it looks at goes by how rare they are.
                    wanted = segment.index.held(left)
                    left = np.setdiff1d(left, wanted, assume_unique=True)
                best = _merge(best, segment.index.search(rows, k, allowed=wanted), k)
        return best

    def save(self, folder: Path, *, last_vector: int, last_erasure: int) -> None:
        """Write a snapshot: a file for each segment that changed since it was written, then the manifest in one step.

        A crash leaves the old snapshot or the new one. Searches go on, changes wait.

        Args:
            folder: for this snapshot alone; it is created.
            last_vector, last_erasure: how far the store's sequences are contained, for replay after `load`.

        Raises:
            UnavailableError: something cannot be written or removed; the old snapshot or the new one is there.
        """
        with self._change:
            for segment in self._segments:
                if not segment.file or not (folder / segment.file).is_file():
                    # A name never used before: the file that the manifest on the disk names stays as it is.
                    name = f"segment-{secrets.token_hex(8)}.faiss"
                    segment.index.save(folder / name, last_vector=last_vector, last_erasure=last_erasure)
                    segment.file, segment.sha256 = name, snapshot_digest(folder / name)
            header = {"kind": _KIND, "dim": self.dim, "last_vector": last_vector, "last_erasure": last_erasure}
            write_snapshot(folder / _MANIFEST, header, self._write_entries)
            _remove_all_but(folder, {segment.file for segment in self._segments})

    @classmethod
    def load(cls, folder: Path, dim: int, *, flat_rows_max: int = FLAT_ROWS_MAX) -> tuple["SegmentedIndex", int, int]:
        """Read a snapshot: (index, last_vector, last_erasure).

        Raises:
            UnavailableError: manifest or segment missing, damaged, or of another dim; build the index anew.
        """
        path = folder / _MANIFEST
        with open_snapshot(path) as (header, read):
            if (header.get("kind"), header.get("dim")) != (_KIND, dim):
                raise damaged(path, f"it holds {header.get('kind')} of dim {header.get('dim')}, not {_KIND} of {dim}")
            entries = json.loads(read(path.stat().st_size))
        index = cls(dim, flat_rows_max=flat_rows_max)
        index._segments = [_load_segment(folder, entry, dim, flat_rows_max) for entry in entries]
        return index, int(header["last_vector"]), int(header["last_erasure"])

    def _write_entries(self, write: Write) -> None:
        write(json.dumps([_entry(segment) for segment in self._segments]).encode())

    def _open(self, day: int) -> _Segment:
        newest = self._segments[-1] if self._segments else None
        if newest is None or (day > newest.last_day and len(newest.index) >= self._flat_rows_max):
            newest = _Segment(VectorIndex(self.dim, flat_rows_max=self._flat_rows_max), int(day), int(day))
            self._segments.append(newest)
        return newest

    def _remove(self, numbers: NDArray[np.int64], segments: Iterable[_Segment]) -> int:
        removed = 0
        for segment in segments:
            gone = segment.index.remove(numbers)
            if gone:
                segment.file = ""
            removed += gone
        # Of those asked only: an open segment that was just made is empty too.
        emptied = [segment for segment in segments if not len(segment.index)]
        self._segments = [segment for segment in self._segments if segment not in emptied]
        return removed


def snapshot_files(folder: Path) -> list[Path]:
    """The files of the snapshot in a folder: the segments, and the manifest that names them last.

    Raises:
        UnavailableError: there is no manifest, or a damaged one.
    """
    path = folder / _MANIFEST
    with open_snapshot(path) as (_, read):
        entries = json.loads(read(path.stat().st_size))
    return [*(folder / str(entry["file"]) for entry in entries), path]


def _merge(one: Hits, other: Hits, k: int) -> Hits:
    ids = np.concatenate([one[0], other[0]], axis=1)
    ids, similarities = tidy(ids, np.concatenate([one[1], other[1]], axis=1), ids.shape[1])
    return ids[:, :k], similarities[:, :k]


def _entry(segment: _Segment) -> dict[str, Any]:
    return {
        "file": segment.file,
        "sha256": segment.sha256,
        "rows": len(segment.index),
        "first_day": segment.first_day,
        "last_day": segment.last_day,
    }


def _load_segment(folder: Path, entry: dict[str, Any], dim: int, flat_rows_max: int) -> _Segment:
    path = folder / entry["file"]
    if snapshot_digest(path) != entry["sha256"]:
        raise damaged(path, "it is not the file that the manifest names")
    index, _, _ = VectorIndex.load(path, dim, flat_rows_max=flat_rows_max)
    if len(index) != entry["rows"]:
        raise damaged(path, f"it holds {len(index)} rows, not {entry['rows']}")
    return _Segment(index, entry["first_day"], entry["last_day"], entry["file"], entry["sha256"])


def _remove_all_but(folder: Path, named: set[str]) -> None:
    """Remove segment files that no manifest names: they may hold vectors that were erased."""
    try:
        for path in folder.glob(_SEGMENTS):
            if path.name not in named:
                path.unlink()
    except OSError as error:
        raise UnavailableError(f"old index segments in {folder} cannot be removed: {error}") from error
