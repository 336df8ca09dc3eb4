"""The index in segments by day of arrival, so that retention drops whole files and a save writes only what changed.

A segment is closed when a later day begins and it is large enough to be searched by lists: a small folder stays one
segment, and no search goes over many small ones. Segments are read into memory, not mapped: the checksum reads the
whole file anyway.
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
from coterie.index.parts import View
from coterie.index.results import Hits, checked_queries, tidy
from coterie.index.snapshot import Write, damaged, open_snapshot, snapshot_digest, write_snapshot
from coterie.index.vector_index import FLAT_ROWS_MAX, IndexState, VectorIndex

_KIND = "segments"
_MANIFEST = "manifest"
_SEGMENTS = "segment-*"


@dataclass(eq=False)
class _Segment:
    """Vectors that arrived from `first_day` to `last_day`.

    Attributes:
        version: grows with every change. `file` holds the segment as it was at `file_version`, if it is not "".
    """

    index: VectorIndex
    first_day: int
    last_day: int
    version: int = 0
    file: str = ""
    sha256: str = ""
    file_rows: int = 0
    file_version: int = 0


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
        self._views: tuple[View, ...] = ()
        self._change = threading.Lock()
        self._saving = threading.Lock()

    def __len__(self) -> int:
        return sum(len(view) for view in self._views)

    def __contains__(self, id_: int) -> bool:
        wanted = np.array([id_], np.int64)
        return any(len(view.held(wanted)) for view in self._views)

    def ids(self) -> NDArray[np.int64]:
        """The ids held, int64[n], ascending."""
        return np.sort(np.concatenate([np.empty(0, np.int64), *(view.ids() for view in self._views)]))

    def days(self) -> list[tuple[int, int]]:
        """First and last day of each segment, oldest segment first; UTC days since the epoch."""
        with self._change:
            return [(segment.first_day, segment.last_day) for segment in self._segments]

    def states(self) -> list[IndexState]:
        """How each segment is searched, oldest first."""
        with self._change:
            return [segment.index.state for segment in self._segments]

    def add(self, ids: ArrayLike, vectors: ArrayLike, day: int) -> None:
        """Add vectors that arrived on `day`, replacing those of the same ids in whatever segment.

        They are searched exactly until `maintain` puts them into lists.

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
            segment = self._open(day)
            self._remove(numbers, [other for other in self._segments if other is not segment])
            segment.index.put(numbers, rows)
            segment.first_day, segment.last_day = min(segment.first_day, day), max(segment.last_day, day)
            segment.version += 1
            self._show()

    def remove(self, ids: ArrayLike) -> int:
        """Remove ids; those that are not there are ignored. Returns how many were removed."""
        numbers = checked_ids(ids)
        with self._change:
            removed = self._remove(numbers, self._segments)
            self._show()
            return removed

    def drop_before(self, day: int) -> int:
        """Remove the segments of which every day is before `day`, whole. Returns how many ids went."""
        with self._change:
            gone = [segment for segment in self._segments if segment.last_day < day]
            self._segments = [segment for segment in self._segments if segment.last_day >= day]
            self._show()
            return sum(len(segment.index) for segment in gone)

    def maintain(self, *, threads: int | None = None) -> bool:
        """Keep every segment quick to search, while searches and changes go on. See `VectorIndex.maintain`."""
        with self._change:
            segments = list(self._segments)
        done = [segment for segment in segments if segment.index.maintain(threads=threads)]
        with self._change:
            for segment in done:
                segment.version += 1  # the same rows, but a start would build the lists again
            self._show()
        return bool(done)

    def search(self, queries: ArrayLike, k: int, *, allowed: NDArray[np.int64] | None = None) -> Hits:
        """The k nearest of the ids held (and allowed). See `VectorIndex.search`."""
        rows = checked_queries(queries, self.dim, k)
        left = None if allowed is None else np.unique(checked_ids(allowed))
        best = tidy(np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0), np.float32), k)
        views = self._views  # taken once: an id that moves meanwhile is neither met twice nor missed
        if len(views) == 1:
            return views[0].search(rows, k, left)
        for view in views:
            wanted = left
            if left is not None:
                # Each segment is asked for its own alone: how many lists it looks at goes by how rare they are.
                wanted = view.held(left)
                left = np.setdiff1d(left, wanted, assume_unique=True)
            best = _merge(best, view.search(rows, k, wanted), k)
        return best

    def save(self, folder: Path, *, last_vector: int, last_erasure: int) -> None:
        """Write a snapshot: a file for each segment that changed since it was written, then the manifest in one step.

        A crash leaves the old snapshot or the new one. Searches and changes go on: what comes while it is written may
        be in it or not, and a replay from these sequences makes it so.

        Args:
            folder: for this snapshot alone; it is created.
            last_vector, last_erasure: how far the store's sequences are contained, for replay after `load`.

        Raises:
            UnavailableError: something cannot be written or removed; the old snapshot or the new one is there.
        """
        with self._saving:
            entries = [self._saved(segment, folder, last_vector, last_erasure) for segment in self._taken()]
            header = {"kind": _KIND, "dim": self.dim, "last_vector": last_vector, "last_erasure": last_erasure}
            write_snapshot(folder / _MANIFEST, header, lambda write: _write_entries(write, entries))
            _remove_all_but(folder, {entry["file"] for entry in entries})

    @classmethod
    def load(cls, folder: Path, dim: int, *, flat_rows_max: int = FLAT_ROWS_MAX) -> tuple["SegmentedIndex", int, int]:
        """Read a snapshot: (index, last_vector, last_erasure).

        Raises:
            UnavailableError: manifest or segment missing, damaged, or of another dim; build the index anew.
        """
        path = folder / _MANIFEST
        with open_snapshot(path) as (header, payload):
            if (header.get("kind"), header.get("dim")) != (_KIND, dim):
                raise damaged(path, f"it holds {header.get('kind')} of dim {header.get('dim')}, not {_KIND} of {dim}")
            entries = json.loads(payload.read(path.stat().st_size))
            index = cls(dim, flat_rows_max=flat_rows_max)
            index._segments = [_load_segment(folder, entry, dim, flat_rows_max) for entry in entries]
            index._show()
            return index, int(header["last_vector"]), int(header["last_erasure"])

    def _taken(self) -> list[tuple[_Segment, int]]:
        """The segments with their versions: what changes later is of another."""
        with self._change:
            return [(segment, segment.version) for segment in self._segments]

    def _saved(self, taken: tuple[_Segment, int], folder: Path, last_vector: int, last_erasure: int) -> dict[str, Any]:
        """A segment's line of the manifest, its file written if there is none that holds it as it is."""
        segment, version = taken
        if not segment.file or segment.file_version != version or not (folder / segment.file).is_file():
            # A name never used before: the file that the manifest on the disk names stays as it is.
            name = f"segment-{secrets.token_hex(8)}.faiss"
            segment.file_rows = segment.index.save(folder / name, last_vector=last_vector, last_erasure=last_erasure)
            segment.file, segment.sha256, segment.file_version = name, snapshot_digest(folder / name), version
        return {
            "file": segment.file,
            "sha256": segment.sha256,
            "rows": segment.file_rows,
            "first_day": segment.first_day,
            "last_day": segment.last_day,
        }

    def _show(self) -> None:
        """Let searches see the segments as they are now."""
        self._views = tuple(segment.index.view() for segment in self._segments)

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
                segment.version += 1
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
    with open_snapshot(path) as (_, payload):
        entries = json.loads(payload.read(path.stat().st_size))
        return [*(folder / str(entry["file"]) for entry in entries), path]


def _merge(one: Hits, other: Hits, k: int) -> Hits:
    ids = np.concatenate([one[0], other[0]], axis=1)
    ids, similarities = tidy(ids, np.concatenate([one[1], other[1]], axis=1), ids.shape[1])
    return ids[:, :k], similarities[:, :k]


def _write_entries(write: Write, entries: list[dict[str, Any]]) -> None:
    write(json.dumps(entries).encode())


def _load_segment(folder: Path, entry: dict[str, Any], dim: int, flat_rows_max: int) -> _Segment:
    path = folder / entry["file"]
    if snapshot_digest(path) != entry["sha256"]:
        raise damaged(path, "it is not the file that the manifest names")
    index, _, _ = VectorIndex.load(path, dim, flat_rows_max=flat_rows_max)
    if len(index) != entry["rows"]:
        raise damaged(path, f"it holds {len(index)} rows, not {entry['rows']}")
    return _Segment(index, entry["first_day"], entry["last_day"], 0, entry["file"], entry["sha256"], entry["rows"])


def _remove_all_but(folder: Path, named: set[str]) -> None:
    """Remove segment files that no manifest names: they may hold vectors that were erased."""
    try:
        for path in folder.glob(_SEGMENTS):
            if path.name not in named:
                path.unlink()
    except OSError as error:
        raise UnavailableError(f"old index segments in {folder} cannot be removed: {error}") from error
