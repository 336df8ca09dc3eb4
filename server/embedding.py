"""From texts without a vector to vectors: the store's queue, emptied by the one model of the process."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coterie.domain import CancelledRunError, CoterieError, NotFoundError, estimated_tokens
from coterie.domain.telemetry import EmbeddedBatch
from coterie.server.admission import EmbeddingQueue
from coterie.server.config import Config
from coterie.server.logs import emit, origin
from coterie.server.observer import Observer
from coterie.server.priority import EMBEDDING_NICE, yield_processor
from coterie.server.tracing import record
from coterie.store import Store

if TYPE_CHECKING:
    from coterie.embedder import Encoder

_LOGGER = logging.getLogger(__name__)

_RETRY_S_MAX = 60.0
_IDLE_S = 5.0
_LOOK_S = 0.2

Progress = Callable[[float], None]
"""Told how far a stage is, 0 to 1."""
Cancelled = Callable[[], bool]
"""Asked whether to stop."""


class Embedding:
    """Owns the model: loads it once, binds the data folder to it, and gives every waiting text its vector."""

    def __init__(
        self,
        store: Store,
        config: Config,
        on_vectors: Callable[[], None],
        observer: Observer | None = None,
        queue: EmbeddingQueue | None = None,
    ) -> None:
        """`queue` is told what was embedded; `on_vectors` is called after vectors were stored, on that thread."""
        self._observer = observer or Observer()
        self._store = store
        self._config = config
        self._on_vectors = on_vectors
        self._queue = queue or EmbeddingQueue(config.queued_tokens_max)
        self._loading = threading.Lock()
        self.drifted = False
        """Whether a model was loaded but failed its self-test."""
        self._encoder: Encoder | None = None
        self._failure: CoterieError | None = None
        self._slice = threading.Lock()
        self._embedded = 0  # texts since the start; changed under the slice lock

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

    def encode_now(self, text: str) -> tuple[NDArray[np.float32], int, int]:
        """The vector of a caller's text, float32[dim], ahead of all waiting texts.

        Also the nanoseconds that it waited for texts in the model, and those it took on the whole.
        """
        encoder = self.encoder()
        started = time.perf_counter_ns()
        waits: list[int] = []
        (vector,) = encoder.encode([text], urgent=True, waited=waits.append)
        return vector, sum(waits), time.perf_counter_ns() - started

    def encode_bulk(self, texts: Sequence[str], progress: Progress, cancelled: Cancelled) -> NDArray[np.float32]:
        """The vectors of many texts, float32[n, dim]; urgent texts go first between two batches.

        Raises:
            CancelledRunError: `cancelled` said so.
        """
        return self.encoder().encode(texts, progress=lambda done: progress(done / len(texts)), cancelled=cancelled)

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
        progress(1.0)  # another taker may have done all of it between two looks
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
        from coterie.embedder import ObservedEncoder, load_encoder, self_test

        started = time.perf_counter()
        encoder = load_encoder(self._config.model, device=self._config.device)
        self.drifted = True  # until the self-test says otherwise
        self_test(encoder)
        self.drifted = False
        if isinstance(encoder, ObservedEncoder):
            encoder.on_batch = self._batch_done
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

    def _batch_done(self, batch: EmbeddedBatch) -> None:
        self._observer.embedded(batch)
        sizes = {"coterie.windows": batch.windows, "coterie.tokens": batch.tokens}
        record("embedding.batch", batch.duration_s, **sizes)

    def _embed_slice(self, cancelled: Cancelled, tell: Callable[[], None]) -> int:
        """Embed the next texts of the queue, and say how many there were; `tell` is called as they are done."""
        # One slice at a time: two takers would embed the same texts.
        while not self._slice.acquire(timeout=_LOOK_S):
            _check_cancelled(cancelled)
            tell()
        try:
            started = time.perf_counter()
            pending = self._store.pending_texts(self._config.embed_slice_texts)
            before = self._embedded

            def count(share: float) -> None:
                self._embedded = before + round(share * len(pending))
                tell()

            if pending:
                try:
                    vectors = self.encode_bulk([text for _, text in pending], count, cancelled)
                    self._store.put_vectors(np.array([text_id for text_id, _ in pending], dtype=np.int64), vectors)
                except BaseException:
                    self._embedded = before  # what is not stored was not embedded
                    raise
                self._embedded = before + len(pending)
                self._observer.texts_embedded(len(pending))
                tokens = sum(estimated_tokens(len(text)) for _, text in pending)
                self._queue.embedded(len(pending), tokens, time.perf_counter() - started)
                tell()
            else:
                self._queue.emptied()
        finally:
            self._slice.release()
        if pending:
            self._on_vectors()
        return len(pending)


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
        yield_processor(EMBEDDING_NICE)
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
