"""Maps of texts: laid out once a run by a process of low priority, and kept in the data folder."""

import hashlib
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coterie.domain import LIMITS, CoterieError, FamilyLabels, Finding, MapState, TextMap, UnavailableError
from coterie.server.logs import emit, origin
from coterie.store import Store

_LOGGER = logging.getLogger(__name__)
_VERSION = "1"
"""Of the layout: another never takes an old file for its own."""
_SEED = 20_260_101
_VECTORS, _MADE = ".vectors.npy", ".made.npy"
_VECTORS_AT_ONCE = 20_000


class Maps:
    """The map of the newest run of everything. Thread-safe; close it when done."""

    def __init__(
        self, store: Store, labels: Callable[[], FamilyLabels | None], texts_max: int = LIMITS.map_texts_max
    ) -> None:
        """`labels`: which family each text of that run is in."""
        self._store = store
        self._labels = labels
        self._folder = store.data_dir / "map"
        self._texts_max = texts_max
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._failed: dict[str, str] = {}
        self._forgotten = 0
        for left in self._folder.glob(f"*{_VECTORS}"):  # by a process that was killed
            left.unlink(missing_ok=True)

    def get(self) -> TextMap:
        """The map; where there is none yet it is begun, and its state says so."""
        labels = self._labels()
        if labels is None or not len(labels.text_ids):
            return TextMap(MapState.NONE)
        findings = self._store.findings()[1]
        text_ids = self._chosen(labels, findings)
        path = self._path(labels, text_ids)
        with self._lock:
            error = self._failed.pop(path.name, "")
            if error:
                return TextMap(MapState.FAILED, labels.run_id, len(labels.text_ids), error=error)
            if not path.exists():
                self._begin(path, text_ids)
                return TextMap(MapState.MAKING, labels.run_id, len(labels.text_ids))
            positions = np.load(path)
        return _drawn(labels, findings, text_ids, positions)

    def forget(self) -> None:
        """Remove every map, and give up the one that is being laid out: something of it was erased."""
        with self._lock:
            self._forgotten += 1
            if self._process is not None:
                self._process.terminate()
            self._clear()

    def close(self) -> None:
        """Stop what is being laid out."""
        with self._lock:
            self._closing = True
            if self._process is not None:
                self._process.terminate()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _chosen(self, labels: FamilyLabels, findings: list[Finding]) -> NDArray[np.int64]:
        """The texts to draw, rising: all, or those of findings and as many others as there is room for."""
        text_ids = labels.text_ids
        if len(text_ids) <= self._texts_max:
            return text_ids
        held = np.isin(text_ids, [text_id for finding in findings for text_id in finding.text_ids])
        order = np.random.default_rng(_SEED).permutation(len(text_ids))
        order = order[np.argsort(~held[order], kind="stable")]
        return np.sort(text_ids[order[: self._texts_max]])

    def _path(self, labels: FamilyLabels, text_ids: NDArray[np.int64]) -> Path:
        # Named by its inputs. Erased texts are not among the labels, so what held them is never found again.
        mark = hashlib.sha256(repr((_VERSION, self._store.model(), labels.run_id)).encode() + text_ids.tobytes())
        return self._folder / f"{mark.hexdigest()[:24]}.npy"

    def _begin(self, path: Path, text_ids: NDArray[np.int64]) -> None:
        if self._closing or (self._thread is not None and self._thread.is_alive()):
            return
        arguments = (path, text_ids, self._forgotten)
        self._thread = threading.Thread(target=self._make, args=arguments, name="coterie-map", daemon=True)
        self._thread.start()

    def _make(self, path: Path, text_ids: NDArray[np.int64], forgotten: int) -> None:
        source, made = path.with_suffix(_VECTORS), path.with_suffix(_MADE)
        try:
            with self._lock:
                self._clear()
            self._write_vectors(source, text_ids)
            self._run(source, made)
            self._publish(made, path, forgotten)
        except Exception as error:  # noqa: BLE001 - told to who asks; the service goes on
            reason = str(error) if isinstance(error, CoterieError) else origin(error)
            emit(_LOGGER, logging.ERROR, "map_failed", reason=reason)
            with self._lock:
                if forgotten == self._forgotten:
                    known = isinstance(error, CoterieError)
                    self._failed[path.name] = str(error) if known else "the map could not be drawn: see the log"
        finally:
            source.unlink(missing_ok=True)
            made.unlink(missing_ok=True)

    def _publish(self, made: Path, path: Path, forgotten: int) -> None:
        with self._lock:
            if forgotten == self._forgotten and not self._closing:
                made.replace(path)
                emit(_LOGGER, logging.INFO, "map_made", bytes=path.stat().st_size)

    def _clear(self) -> None:
        """Remove every file: maps of earlier runs, and what was left half done."""
        self._folder.mkdir(exist_ok=True)
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)

    def _write_vectors(self, source: Path, text_ids: NDArray[np.int64]) -> None:
        model = self._store.model()
        assert model is not None  # there are labels, so there are vectors
        vectors = np.lib.format.open_memmap(source, "w+", np.float16, (len(text_ids), model[1]))
        for first in range(0, len(text_ids), _VECTORS_AT_ONCE):
            some = text_ids[first : first + _VECTORS_AT_ONCE]
            vectors[first : first + len(some)] = self._store.vectors(some)
        vectors.flush()

    def _run(self, source: Path, target: Path) -> None:
        command = [sys.executable, "-m", "coterie.server.layout", str(source), str(target)]
        with self._lock:
            if self._closing:
                return
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, complaint = self._process.communicate()
        with self._lock:
            code, self._process = self._process.returncode, None
        if code and not self._closing:
            # The last line of a traceback names the error; it knows vectors and files, and no texts.
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise UnavailableError(f"the map could not be drawn ({last[:200]})")


def _drawn(
    labels: FamilyLabels, findings: list[Finding], text_ids: NDArray[np.int64], positions: NDArray[np.float32]
) -> TextMap:
    finding = np.full(len(text_ids), -1, np.int32)
    for number in reversed(range(len(findings))):  # the most severe are first, and the last to be written
        finding[np.isin(text_ids, findings[number].text_ids)] = number
    return TextMap(
        state=MapState.READY,
        run_id=labels.run_id,
        texts=len(labels.text_ids),
        text_ids=text_ids,
        positions=positions,
        family=labels.family[labels.place(text_ids)].astype(np.int32),
        finding=finding,
        family_ids=labels.family_ids,
        finding_ids=tuple(item.finding_id for item in findings),
    )
