"""The living neighbour graphs of a data folder: one for each view of the texts, kept from run to run."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coterie.domain import NeighbourGraph, UnavailableError
from coterie.index import LivingGraph, neighbour_graph
from coterie.server.logs import emit
from coterie.store import Store

_LOGGER = logging.getLogger(__name__)

_SLACK = 10
_FOREIGN_SHARE_MAX = 0.1
"""Share of texts new to the graph up to which a run on a slice adds them; with more it makes a graph of its own."""
_KEPT_SHARE_MIN = 0.8
"""Share of a graph that a window has to keep; where it keeps less, most lists would have to be searched again, and the
graph is built anew."""
_ROWS_AT_ONCE = 65_536


class Graphs:
    """Hands a run the graph of its texts, at the cost of what changed since the run before.

    A graph holds the texts of the newest whole window: a whole run adds what is new and removes what has left; a run on
    a slice takes what it needs of it. Texts are known by their ids; one whose vector is another than before (a view
    derives texts, and learns) is taken out and put in again. One call at a time works on a graph.
    """

    def __init__(self, store: Store, model_id: str, dim: int, k: int, snapshot_interval_s: float) -> None:
        # Whatever changes the content of a snapshot is part of its name: another's is never taken for this one's.
        mark = hashlib.sha256(f"{model_id}/{dim}/{k}/{_SLACK}".encode()).hexdigest()[:12]
        self._mark = mark
        self._store = store
        self._dim, self._k = dim, k
        self._interval_s = snapshot_interval_s
        self._saved_at = time.monotonic()
        self._lock = threading.Lock()
        self._graphs: dict[str, LivingGraph] = {}
        self._changed: set[str] = set()
        self.refused = 0
        """Snapshots that were damaged."""
        self._last_erasure = 0

    def of(
        self,
        name: str,
        text_ids: NDArray[np.int64],
        vectors: NDArray[np.float32],
        *,
        whole: bool,
        progress: Callable[[float], None],
    ) -> tuple[NeighbourGraph, int]:
        """The graph of these texts, in their order, and how many of them were new to it.

        Args:
            name: of the view.
            text_ids: int64[m], each once.
            vectors: float32[m, dim], unit rows.
            whole: whether these are the texts of the newest whole window, which the graph is to hold from now on.
            progress: told the finished share; may raise to stop, and the graph is as good as before.
        """
        k = max(1, min(self._k, len(text_ids) - 1))
        with self._lock:
            graph = self._held(name)
            missing, changed = self._compared(graph, text_ids, vectors)
            new = missing | changed
            if not whole and (changed.any() or missing.sum() > _FOREIGN_SHARE_MAX * len(graph)):
                return neighbour_graph(vectors, k, progress=progress), len(text_ids)
            if whole:
                left = np.setdiff1d(graph.ids(), text_ids[~new])
                if len(graph) - len(left) < _KEPT_SHARE_MIN * len(graph):
                    graph = LivingGraph(self._dim, self._k, slack=_SLACK)
                    new[:] = True
                elif len(left):
                    self._changed.add(name)
                    graph.remove(left)
            if new.any():
                graph.add(text_ids[new], vectors[new], tick=progress)
                # Only now: a build that was stopped leaves the graph that was there.
                self._graphs[name] = graph
                self._changed.add(name)
            _, found = graph.graph(text_ids, k, tick=progress)
            return found, int(new.sum())

    def erase(self) -> None:
        """Forget what was erased, on disk as well; returns when no file holds it.

        Raises:
            UnavailableError: a snapshot cannot be written; the graph in memory has forgotten.
        """
        with self._lock:
            self._forget()
            self._save()
            kept = {self._path(name) for name in self._graphs}
            for path in (self._store.data_dir / "index").glob("graph-*"):
                # Graphs that nobody has asked for since the start, or of another model: the next run makes them anew.
                if path not in kept:
                    path.unlink(missing_ok=True)

    def save_when_due(self) -> None:
        """Snapshot what changed, if the last time is an interval ago."""
        if time.monotonic() - self._saved_at >= self._interval_s:
            self.save()

    def save(self) -> None:
        """Snapshot what changed.

        Raises:
            UnavailableError: a snapshot cannot be written; the old one is still there.
        """
        with self._lock:
            self._forget()
            self._save()

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        for name in sorted(self._changed):
            self._graphs[name].save(self._path(name), last_vector=0, last_erasure=self._last_erasure)
            self._changed.discard(name)
            emit(_LOGGER, logging.INFO, "graph_saved", view=name, texts=len(self._graphs[name]))

    def _path(self, name: str) -> Path:
        return self._store.data_dir / "index" / f"graph-{name}-{self._mark}.coterie"

    def _held(self, name: str) -> LivingGraph:
        if name not in self._graphs:
            self._graphs[name], erasure = self._load(name)
            # The oldest snapshot says from where erasures have to be followed; to follow one twice changes nothing.
            self._last_erasure = min(self._last_erasure, erasure) if len(self._graphs) > 1 else erasure
        self._forget()
        return self._graphs[name]

    def _forget(self) -> None:
        self._last_erasure, erased = self._store.erased_since(self._last_erasure)
        if len(erased):
            for name, graph in self._graphs.items():
                if graph.remove(erased):
                    self._changed.add(name)

    def _load(self, name: str) -> tuple[LivingGraph, int]:
        path = self._path(name)
        if path.exists():
            try:
                graph, _, last_erasure = LivingGraph.load(path, self._dim, self._k, slack=_SLACK)
            except UnavailableError as error:
                self.refused += 1
                emit(
                    _LOGGER,
                    logging.WARNING,
                    "snapshot_refused",
                    path=path,
                    reason=error,
                    action="the graph is built anew by the next run",
                )
            else:
                return graph, last_erasure
        return LivingGraph(self._dim, self._k, slack=_SLACK), 0

    def _compared(
        self, graph: LivingGraph, text_ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """bool[m] each: texts that the graph does not hold, and those it holds with another vector."""
        missing = ~np.isin(text_ids, graph.ids())
        changed = np.zeros(len(text_ids), np.bool_)
        held = np.flatnonzero(~missing)
        for first in range(0, len(held), _ROWS_AT_ONCE):
            some = held[first : first + _ROWS_AT_ONCE]
            changed[some] = (graph.vectors(text_ids[some]) != vectors[some].astype(np.float16)).any(axis=1)
        return missing, changed
