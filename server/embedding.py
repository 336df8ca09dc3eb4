"""From texts without a vector to vectors: the store's queue, emptied by the one model of the process."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coterie.domain import CancelledRunError, CoterieError, NotFoundError
from coterie.server.config import Config
from coterie.server.logs import emit, origin
from coterie.store import Store

if TYPE_CHECKING:
    from coterie.embedder import Encoder

_LOGGER = logging.getLogger(__name__)

_CHUNK_TARGET_S = 0.25
_CHUNK_COST_MIN = 12_000  # less would fill no batch of the encoder
_CHUNK_COST_MAX = 4_000_000
_TEXT_COST_MAX = 8_192  # characters beyond this cost little more: the encoder bounds its windows
_TEXT_COST_FIXED = 32
_RETRY_S_MAX = 60.0
_IDLE_S = 5.0
_LOOK_S = 0.2

Progress = Callable[[float], None]
"""Told how far a stage is, 0 to 1."""
Cancelled = Callable[[], bool]
"""Asked whether to stop."""


class Turns:
    """A lock whose urgent waiters go first, so that a query waits for one chunk of texts and not for a queue."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._taken = False
        self._urgent = 0

    @contextmanager
    def turn(self, *, urgent: bool) -> Iterator[None]:
        """Hold the lock; one that is not urgent lets every urgent waiter go before it."""
        with self._condition:
            self._urgent += urgent
            try:
                self._condition.wait_for(lambda: not self._taken and (urgent or not self._urgent))
                self._taken = True
            finally:
                self._urgent -= urgent
        try:
            yield
        finally:
            with self._condition:
                self._taken = False
                self._condition.notify_all()


class Embedding:
    """Owns the model: loads it once, binds the data folder to it, and gives every waiting text its vector."""

    def __init__(self, store: Store, config: Config, on_vectors: Callable[[], None]) -> None:
        """`on_vectors` is called after vectors were stored, on the thread that stored them."""
        self._store = store
        self._config = config
        self._on_vectors = on_vectors
        self._turns = Turns()
        self._loading = threading.Lock()
        self.drifted = False
        """Whether a model was loaded but failed its self-test."""
        self._encoder: Encoder | None = None
        self._failure: CoterieError | None = None
        self._slice = threading.Lock()
        self._embedded = 0  # texts since the start; changed under the slice lock
        self._chunk_cost = _CHUNK_COST_MIN

    @property
    def ready(self) -> bool:
        """Whether a model is loaded and passed its self-test."""
        return self._encoder is not None

    def encoder(self) -> "Encoder":
        """The model, loaded and tested at the first call.

        Raises:
            ConflictError: the data folder belongs to another model.
            UnavailableError: the model cannot be loaded or fails its self-test; the same at every later call.
        """
        with self._loading:
            if self._failure is not None:
                raise self._failure
            if self._encoder is None:
                try:
                    self._encoder = self._load()
                except CoterieError as error:
                    self._failure = error
                    raise
            return self._encoder

    def encode_now(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of a caller's texts, float32[n, dim], ahead of all waiting texts."""
        encoder = self.encoder()
        with self._turns.turn(urgent=True):
            return encoder.encode(texts)

    def encode_bulk(self, texts: Sequence[str], progress: Progress, cancelled: Cancelled) -> NDArray[np.float32]:
        """The vectors of many texts, float32[n, dim], in chunks between which urgent texts go first.

        Raises:
            CancelledRunError: `cancelled` said so.
        """
        vectors = np.empty((len(texts), self.encoder().dim), dtype=np.float32)
        done = 0
        for rows, part in self._encode_chunks(texts, cancelled):
            vectors[rows] = part
            done += len(rows)
            progress(done / len(texts))
        return vectors

    def embed_pending(self, progress: Progress, cancelled: Cancelled) -> int:
        """See that what waits now is embedded, prompts first; what arrives meanwhile may be left.

        Returns how many texts were embedded meanwhile, by this call or beside it.

        Raises:
            CancelledRunError: `cancelled` said so; what was embedded stays.
        """
        waiting = self._store.pending_count()
        before = self._embedded

        def tell() -> None:
            progress(min(1.0, (self._embedded - before) / max(1, waiting)))

        while self._embedded - before < waiting and self._embed_slice(cancelled, tell):
            pass
        return self._embedded - before

    def vectors(self, text_ids: NDArray[np.int64], cancelled: Cancelled) -> NDArray[np.float32]:
        """The vectors of stored texts, float32[n, dim]; those that wait are embedded first.

        Raises:
            NotFoundError: a text that is gone.
            CancelledRunError: `cancelled` said so.
        """
        while True:
            try:
                return self._store.vectors(text_ids)
            except NotFoundError:
                # Prompts are taken oldest first, so each slice brings these texts nearer; an empty queue means
                # that one of them was erased.
                if not self._embed_slice(cancelled, lambda: None):
                    return self._store.vectors(text_ids)

    def _load(self) -> "Encoder":
        from coterie.embedder import load_encoder, self_test

        started = time.perf_counter()
        encoder = load_encoder(self._config.model, device=self._config.device)
        self.drifted = True  # until the self-test says otherwise
        self_test(encoder)
        self.drifted = False
        self._store.bind_model(encoder.model_id, encoder.dim)
        seconds = round(time.perf_counter() - started, 2)
        emit(
            _LOGGER,
            logging.INFO,
            "model_ready",
            model=encoder.model_id,
            dim=encoder.dim,
            device=encoder.device,
            s=seconds,
        )
        return encoder

    def _embed_slice(self, cancelled: Cancelled, tell: Callable[[], None]) -> int:
        """Embed the next texts of the queue, and say how many there were; `tell` is called as they are done."""
        # One slice at a time: two takers would embed the same texts.
        while not self._slice.acquire(timeout=_LOOK_S):
            _check_cancelled(cancelled)
            tell()
        try:
            pending = self._store.pending_texts(self._config.embed_slice_texts)
            text_ids = np.array([text_id for text_id, _ in pending], dtype=np.int64)
            for rows, vectors in self._encode_chunks([text for _, text in pending], cancelled):
                self._store.put_vectors(text_ids[rows], vectors)
                self._embedded += len(rows)
                tell()
        finally:
            self._slice.release()
        if pending:
            self._on_vectors()
        return len(pending)

    def _encode_chunks(
        self, texts: Sequence[str], cancelled: Cancelled
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Row numbers and vectors, shortest texts first: a chunk of like lengths wastes the least padding."""
        encoder = self.encoder()
        order = np.argsort([len(text) for text in texts], kind="stable").astype(np.int64)
        done = 0
        while done < len(order):
            _check_cancelled(cancelled)
            rows = order[done : done + self._chunk_size(texts, order[done:])]
            with self._turns.turn(urgent=False):
                started = time.perf_counter()
                vectors = encoder.encode([texts[row] for row in rows])
                self._adapt(time.perf_counter() - started)
            yield rows, vectors
            done += len(rows)

    def _chunk_size(self, texts: Sequence[str], order: NDArray[np.int64]) -> int:
        cost = 0
        for size, row in enumerate(order):
            cost += min(len(texts[row]), _TEXT_COST_MAX) + _TEXT_COST_FIXED
            if cost > self._chunk_cost:
                return max(1, size)
        return len(order)

    def _adapt(self, seconds: float) -> None:
        """Size the next chunk for the time that a query may have to wait, on whatever hardware this is."""
        change = min(2.0, max(0.5, _CHUNK_TARGET_S / max(seconds, 1e-6)))
        self._chunk_cost = round(min(_CHUNK_COST_MAX, max(_CHUNK_COST_MIN, self._chunk_cost * change)))


def _check_cancelled(cancelled: Cancelled) -> None:
    if cancelled():
        raise CancelledRunError("cancelled while embedding")


class EmbedLoop:
    """The background thread that embeds as texts arrive."""

    def __init__(self, embedding: Embedding, on_idle: Callable[[], None]) -> None:
        """`on_idle` is called, on the loop's thread, whenever the queue has been emptied."""
        self._embedding = embedding
        self._on_idle = on_idle
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="coterie-embed", daemon=True)

    def start(self) -> None:
        """Begin; the first pass takes up what an earlier service left."""
        self._thread.start()

    def wake(self) -> None:
        """Say that texts may be waiting."""
        self._wake.set()

    def close(self) -> None:
        """Stop after the chunk at work; what waits stays in the store's queue."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        retry_s = 1.0
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._embedding.embed_pending(lambda _: None, self._stopping.is_set)
                self._on_idle()
                retry_s = 1.0
            except CancelledRunError:
                return
            except Exception as error:  # noqa: BLE001 - the queue is in the store; the loop must outlive a bad moment
                reason = str(error) if isinstance(error, CoterieError) else origin(error)
                emit(_LOGGER, logging.ERROR, "embedding_failed", reason=reason, retry_s=retry_s)
                self._stopping.wait(retry_s)
                retry_s = min(_RETRY_S_MAX, retry_s * 2)
            else:
                self._wake.wait(_IDLE_S)
