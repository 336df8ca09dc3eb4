"""One model on several devices: each replica takes the next texts as soon as it is free."""

import queue
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coterie.domain.telemetry import OnBatch
from coterie.embedder.encoder import (
    Cancelled,
    Encoder,
    ObservedEncoder,
    Progress,
    Waited,
    check_cancelled,
    check_texts,
)

_PIECE_TEXTS = 2_048
"""Texts a replica takes at a time: several batches of its own, and little to wait for at the end."""


class Replicas:
    """An encoder made of equal encoders on devices of their own. Thread-safe.

    Few texts, such as a query, go to the replica with the least to do.

    Args:
        encoders: at least one, all with one model.
        piece_texts: texts a replica takes at a time.
    """

    def __init__(self, encoders: Sequence[Encoder], piece_texts: int = _PIECE_TEXTS) -> None:
        assert encoders, "a model is somewhere"
        first = encoders[0]
        assert all((other.model_id, other.dim) == (first.model_id, first.dim) for other in encoders)
        self.model_id, self.dim = first.model_id, first.dim
        self.device = ",".join(encoder.device for encoder in encoders)
        self._encoders = list(encoders)
        self._piece_texts = piece_texts
        self._busy = [0] * len(encoders)
        self._lock = threading.Lock()
        self._on_batch: OnBatch | None = None

    @property
    def on_batch(self) -> OnBatch | None:
        """Told of every batch of every replica, on the thread that computed it."""
        return self._on_batch

    @on_batch.setter
    def on_batch(self, listener: OnBatch | None) -> None:
        self._on_batch = listener
        for encoder in self._encoders:
            if isinstance(encoder, ObservedEncoder):
                encoder.on_batch = listener

    def encode(
        self,
        texts: Sequence[str],
        *,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
        urgent: bool = False,
        waited: Waited | None = None,
    ) -> NDArray[np.float32]:
        """Embed n texts, in their order: float32[n, dim], unit rows. See `Encoder.encode`."""
        check_texts(texts)
        if len(texts) <= self._piece_texts:
            return self._encode_few(texts, progress, cancelled, urgent, waited)
        vectors = np.empty((len(texts), self.dim), np.float32)
        pieces: queue.SimpleQueue[int] = queue.SimpleQueue()
        for start in range(0, len(texts), self._piece_texts):
            pieces.put(start)
        work = _Work(texts, vectors, pieces, self._piece_texts, progress, cancelled)
        threads = [
            threading.Thread(target=work.run, args=(encoder,), name="coterie-replica", daemon=True)
            for encoder in self._encoders
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if work.error is not None:
            raise work.error
        return vectors

    def _encode_few(
        self,
        texts: Sequence[str],
        progress: Progress | None,
        cancelled: Cancelled | None,
        urgent: bool,
        waited: Waited | None,
    ) -> NDArray[np.float32]:
        with self._lock:
            number = self._busy.index(min(self._busy))
            self._busy[number] += 1
        try:
            encoder = self._encoders[number]
            return encoder.encode(texts, progress=progress, cancelled=cancelled, urgent=urgent, waited=waited)
        finally:
            with self._lock:
                self._busy[number] -= 1


class _Work:
    """What the replicas share while one call is under way; the first error ends it for all."""

    def __init__(
        self,
        texts: Sequence[str],
        vectors: NDArray[np.float32],
        pieces: "queue.SimpleQueue[int]",
        piece_texts: int,
        progress: Progress | None,
        cancelled: Cancelled | None,
    ) -> None:
        self.error: BaseException | None = None
        self._texts = texts
        self._vectors = vectors
        self._pieces = pieces
        self._piece_texts = piece_texts
        self._progress = progress
        self._cancelled = cancelled
        self._done = 0
        self._lock = threading.Lock()

    def run(self, encoder: Encoder) -> None:
        """Take pieces until there are none."""
        try:
            while self.error is None:
                check_cancelled(self._cancelled)
                start = self._pieces.get_nowait()
                piece = self._texts[start : start + self._piece_texts]
                self._vectors[start : start + len(piece)] = encoder.encode(piece, cancelled=self._cancelled)
                with self._lock:
                    self._done += len(piece)
                    if self._progress is not None:
                        self._progress(self._done)
        except queue.Empty:
            return
        except BaseException as error:  # noqa: BLE001 - it is the caller's, whose thread this is not
            self.error = error
