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
_KEPT_SHARE_MIN = 0.5
"""Share of a graph that a window has to keep; where it keeps less the graph is built anew."""


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
            new = self._new(graph, text_ids, vectors)
            if not whole and new.sum() > _FOREIGN_SHARE_MAX * len(graph):
                return neighbour_graph(vectors, k, progress=progress), len(text_ids)
            if whole:
                left = np.setdiff1d(graph.ids(), text_ids[~new])
                if len(graph) - len(left) < _KEPT_SHARE_MIN * len(graph):
                    graph = self._graphs[name] = self._empty()
                    new[:] = True
                elif len(left):
                    self._changed.add(name)
                    graph.remove(left)
            if new.any():
                self._changed.add(name)
                graph.add(text_ids[new], vectors[new], tick=progress)
            _, found = graph.graph(text_ids, k, tick=progress)
            return found, int(new.sum())

    def follow(self) -> None:
        """Forget what was erased."""
        with self._lock:
            self._forget()

    def save_when_due(self) -> None:
        """Snapshot what changed, if the last time is an interval ago."""
        if time.monotonic() - self._saved_at >= self._interval_s:
            self.save()

    def save(self) -> None:
        """Snapshot what changed."""
        with self._lock:
            self._forget()
            for name in sorted(self._changed):
                path = self._path(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._graphs[name].save(path, last_vector=0, last_erasure=self._last_erasure)
                emit(_LOGGER, logging.INFO, "graph_saved", view=name, texts=len(self._graphs[name]))
            self._changed.clear()
            self._saved_at = time.monotonic()

    def _path(self, name: str) -> Path:
        return self._store.data_dir / "index" / f"graph-{name}-{self._mark}.coterie"

    def _empty(self) -> LivingGraph:
        return LivingGraph(self._dim, self._k, slack=_SLACK)

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
        return self._empty(), 0

    def _new(self, graph: LivingGraph, text_ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
        """bool[m]: texts that the graph does not hold, or holds with another vector."""
        new = ~np.isin(text_ids, graph.ids())
        held = np.flatnonzero(~new)
        if len(held):
            new[held] = (graph.vectors(text_ids[held]) != vectors[held].astype(np.float16)).any(axis=1)
        return new
