"""The second vector space, in which a text lies beside its translations: vectors by text, made once and kept."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coterie.domain import normalise, text_digest
from coterie.server.logs import emit
from coterie.store import Store

if TYPE_CHECKING:
    from coterie.embedder import Encoder

_LOGGER = logging.getLogger(__name__)
_TEXTS_AT_ONCE = 4_096


class Multilingual:
    """The multilingual model, loaded and tested when the first text needs it. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loading = threading.Lock()
        self._encoder: Encoder | None = None

    def encoder(self) -> "Encoder":
        """The model. Raises UnavailableError when it is not installed or fails its self-test."""
        with self._loading:
            if self._encoder is None:
                from coterie.embedder import MULTILINGUAL_MODEL, load_encoder, self_test

                encoder = load_encoder(MULTILINGUAL_MODEL)
                self_test(encoder)
                self._encoder = encoder
                emit(_LOGGER, logging.INFO, "multilingual_model_ready", model=encoder.model_id, dim=encoder.dim)
            return self._encoder

    def vectors(
        self,
        texts: Sequence[str],
        cancelled: Callable[[], bool],
        progress: Callable[[float], None] = lambda share: None,
    ) -> NDArray[np.float32]:
        """The vectors of texts, float32[n, dim], unit rows: from the store where it has them, else made and kept there.

        Raises:
            CancelledRunError: `cancelled` said so; what was made stays.
        """
        encoder = self.encoder()
        clean = [normalise(text) for text in texts]
        digests = [text_digest(text) for text in clean]
        vectors = np.empty((len(texts), encoder.dim), dtype=np.float32)
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            some = range(first, min(first + _TEXTS_AT_ONCE, len(texts)))
            found = self._store.view_vectors(encoder.model_id, [digests[row] for row in some])
            missing = {digests[row]: clean[row] for row in some if digests[row] not in found}
            if missing:
                made = encoder.encode(list(missing.values()), cancelled=cancelled)
                self._store.put_view_vectors(encoder.model_id, list(missing), made)
                # Read back as stored (float16), so that the first look at a text sees what every later one does.
                found |= self._store.view_vectors(encoder.model_id, list(missing))
            for row in some:
                vectors[row] = found[digests[row]]
            progress((some.stop) / len(texts))
        return vectors
